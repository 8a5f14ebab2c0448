/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_SCRATCH_H
#define VARVE_TESTS_SCRATCH_H

/* Directories for tests, on file systems of their own where a test wants one. */

#include "base/fd.h"

typedef struct {
    char *path;
    int fd;
    gboolean mounted;
    char *zpool; /* of a "zfs" one: its name */
} Scratch;

/* To be called first in main(): as root the process gets a mount namespace of its own, so that no
 * mount outlives it. */
void scratch_init(void);

/* Makes an empty directory: the root of a new "ext4", "xfs" (with reflinks), "btrfs" or "tmpfs" of
 * size bytes, or, with NULL, a directory of whatever holds temporary files. NULL when that cannot
 * be done here: the test is marked as skipped then, and must return. */
Scratch *scratch_new(const char *type, guint64 size);

/* Removes it; fails the test when something in it is still open or mounted. */
void scratch_free(Scratch *scratch);

/* Runs a command, which must succeed. Returns what it printed. */
char *scratch_run(const char *command) G_GNUC_WARN_UNUSED_RESULT;

/* Marks the test as skipped, and returns FALSE, unless it runs as root. */
gboolean scratch_need_root(void);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Scratch, scratch_free)

#endif
