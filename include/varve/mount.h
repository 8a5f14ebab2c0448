/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_MOUNT_H
#define VARVE_MOUNT_H

/*
 * Mounts: how a snapshot is presented to the kernel.
 *
 * A mount is what mount(8) would be told, and what containerd's mount.Mount holds: a type, a source
 * and options. Asking a snapshot for its mounts mounts nothing; varve_mount_attach() does.
 */

#include <varve/error.h>

G_BEGIN_DECLS

typedef struct {
    char *type;     /* "bind", "overlay", "btrfs", ... */
    char *source;   /* device, directory, or the type's own name */
    char **options; /* NULL-terminated, as in mount(8) */
} VarveMount;

VARVE_PUBLIC VarveMount *varve_mount_new(const char *type, const char *source,
                                         const char *const *options);
VARVE_PUBLIC void varve_mount_free(VarveMount *mount);

/* Mounts it on an existing directory with the kernel's mount API: fsopen/fsmount/move_mount where
 * the kernel has them, mount(2) otherwise. An overlay of any depth that the kernel takes is mounted
 * (its layers are handed over one by one, or by relative paths where they would not fit a page).
 * Needs CAP_SYS_ADMIN. On failure nothing is mounted. */
VARVE_PUBLIC gboolean varve_mount_attach(const VarveMount *mount, const char *target,
                                         GError **error);

/* Unmounts the topmost mount on a target. VARVE_ERROR_BUSY while it is used,
 * VARVE_ERROR_INVALID_ARGUMENT when the target is not a mount point. */
VARVE_PUBLIC gboolean varve_mount_detach(const char *target, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveMount, varve_mount_free)

G_END_DECLS

#endif
