/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_MOUNT_TABLE_H
#define VARVE_BASE_MOUNT_TABLE_H

/* What is mounted: /proc/PID/mountinfo, see proc_pid_mountinfo(5). */

#include "base/error.h"

typedef struct {
    guint64 id;    /* of the mount, in all namespaces; another one as soon as it is gone */
    char *device;  /* "MAJOR:MINOR" of its file system */
    char *root;    /* which directory of that */
    char *point;   /* where it is mounted */
    char *options; /* of the file system */
    gboolean read_only;
} VarveMountEntry;

/* The mounts of a process's namespace; process: "self", or its id. GPtrArray of VarveMountEntry*,
 * which frees its elements. NULL with the error set. */
GPtrArray *varve_mount_table_read(const char *process, GError **error);

/* What is mounted there, and not hidden by another mount at the same place; NULL: nothing is. */
const VarveMountEntry *varve_mount_table_find(GPtrArray *table, const char *point);

/* Whether something is mounted there, which the kernel is asked without reading the table: that
 * takes as long as all that is mounted. A path that is not there is no mount point. */
gboolean varve_mount_is_point(const char *path, gboolean *is, GError **error);

/* Where the same directory, or something in it, is mounted, in any mount namespace: at entry->point
 * in another one it does not count, since a namespace begins with copies of all mounts; nor at
 * except in this one: "on /mnt", "on /mnt in the mount namespace of process 12 (sh)". NULL:
 * nowhere. */
char *varve_mount_table_find_other(const VarveMountEntry *entry, const char *except);

/* The value of "KEY=VALUE" among the options, without escapes, or NULL. */
char *varve_mount_entry_option(const VarveMountEntry *entry, const char *key);

VarveMountEntry *varve_mount_entry_copy(const VarveMountEntry *entry);
void varve_mount_entry_free(VarveMountEntry *entry);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveMountEntry, varve_mount_entry_free)

#endif
