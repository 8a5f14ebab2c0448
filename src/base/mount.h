/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_MOUNT_H
#define VARVE_BASE_MOUNT_H

/*
 * Mounting, from the inside: mount.c speaks the kernel's new mount API (fsopen and friends),
 * mount-legacy.c speaks mount(2), mount-options.c sorts option strings for both.
 */

#include "base/error.h"
#include <varve/mount.h>

/* The options of a mount, sorted by who has to hear of them. Strings belong to the mount. */
typedef struct {
    gboolean bind, recursive;
    unsigned long flags; /* MS_*: for mount(2) */
    guint64 attributes;  /* MOUNT_ATTR_*: what belongs to the mount, in the new API */
    GPtrArray *super;    /* char*: what belongs to the superblock and has no value, e.g. "ro" */
    GPtrArray *data;     /* char*: the file system's own, "key" or "key=value" */
} VarveMountOptions;

void varve_mount_options_parse(const VarveMount *mount, VarveMountOptions *options);
void varve_mount_options_clear(VarveMountOptions *options);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveMountOptions, varve_mount_options_clear)

/* The value of an option "key=value" when its key is that, else NULL. */
const char *varve_mount_option_value(const char *option, const char *key);

/* Splits the value of overlayfs's lowerdir at colons that no backslash stands before. The parts
 * keep their escapes. */
GPtrArray *varve_mount_split_layers(const char *value);

/* Takes the backslashes of overlayfs's escapes out of a path. */
char *varve_mount_unescape(const char *path);

/* Mounts a file system where nobody sees it, and returns a descriptor of its root directory: it
 * ends with the last descriptor that was opened in it, whatever happens to the process. place is
 * any directory, for kernels that need one: nothing will be seen there. Returns -1 with the error
 * set. */
VARVE_SHARED int varve_mount_open(const VarveMount *mount, const char *place, GError **error);

/* The same with mount(2). */
int varve_mount_legacy_open(const VarveMount *mount, const VarveMountOptions *options,
                            const char *place, GError **error);

/* Mounts with mount(2) on the directory target, of which dirfd is an O_PATH descriptor. */
gboolean varve_mount_legacy(const VarveMount *mount, const VarveMountOptions *options, int dirfd,
                            const char *target, GError **error);

/* For tests: has varve_mount_attach() use mount(2) even where the kernel knows better. */
void varve_mount_use_legacy(gboolean legacy);

#endif
