/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_BTRFS_NAMESPACE_H
#define VARVE_DRIVER_BTRFS_NAMESPACE_H

/*
 * The names that a send stream speaks of.
 *
 * A stream turns one subvolume (here: the old one) into another (the new one), by commands whose
 * paths are those at their moment: a directory that stands in the way gets a temporary name
 * ("o257-7-0"), is moved into another one that is to move later, and so on. So its commands are
 * followed on a tree of names. It holds only those that were mentioned, and the directories on the
 * way to them; a name that comes up for the first time in a directory that the old subvolume has is
 * taken to be there already. When the stream is at its end, every name that it touched knows where
 * it was in the old subvolume and where it is in the new one.
 *
 * Of a directory that was made, or removed, all entries were mentioned, since the stream had to
 * make or remove them one by one. (But see subvolume-names.h.)
 *
 * Format: https://btrfs.readthedocs.io/en/latest/dev/dev-send-stream.html.
 */

#include "driver/btrfs/send-stream.h"

typedef enum {
    VARVE_NAME_TOUCHED = 1 << 0, /* something of the inode may have changed */
    VARVE_NAME_CONTENT = 1 << 1, /* ... its content */
    VARVE_NAME_MADE = 1 << 2,    /* for an inode that the stream made */
    VARVE_NAME_LINKED = 1 << 3,  /* for an inode that had another name then */
    VARVE_NAME_FILE = 1 << 4,    /* known to be no directory */
    VARVE_NAME_MATCHED = 1 << 5, /* for the caller: match is set */
} VarveNameFlags;

/* A name for an inode. To rename it is to move it in the tree. */
typedef struct VarveName VarveName;
struct VarveName {
    VarveName *parent;     /* in the new subvolume; NULL: the root, or it is gone */
    const char *name;      /* NULL: gone; of the root: "" */
    VarveName *old_parent; /* the same in the old one; old_name NULL: it was not there */
    const char *old_name;
    guint flags;
    guint children;           /* how many names are in it now, of those that were mentioned */
    gsize length, old_length; /* of those names together, and of those that were in it */
    VarveName *match;         /* for the caller */
};

typedef struct VarveNamespace VarveNamespace;

VarveNamespace *varve_namespace_new(void);
void varve_namespace_free(VarveNamespace *space);

/* Carries a command out. VARVE_ERROR_CORRUPT when it cannot be. */
gboolean varve_namespace_apply(VarveNamespace *space, const VarveSendCommand *command,
                               GError **error);

/* Every name, the gone ones too (with VarveName*, the root first). It grows by the calls below. */
const GPtrArray *varve_namespace_names(VarveNamespace *space);

/* The name at a path of now, as a command would find it, which may add it and others. */
VarveName *varve_namespace_resolve(VarveNamespace *space, const char *path, GError **error);

/* A name in a directory of the new, or the old, subvolume; NULL when it was not mentioned. */
VarveName *varve_namespace_find(VarveNamespace *space, const VarveName *dir, const char *name);
VarveName *varve_namespace_find_old(VarveNamespace *space, const VarveName *dir, const char *name);

/* Adds one that the stream does not speak of: to what there is now, or to what there was. */
VarveName *varve_namespace_add(VarveNamespace *space, VarveName *dir, const char *name);
VarveName *varve_namespace_add_old(VarveNamespace *space, VarveName *dir, const char *name);

/* Makes to, which was not there before, the same name as from, which is gone: from was moved. */
void varve_namespace_join(VarveNamespace *space, VarveName *from, VarveName *to);

/* Whether it is in the new, or was in the old, subvolume. */
gboolean varve_name_is_there(const VarveName *name);
gboolean varve_name_was_there(const VarveName *name);

/* Its path in the new, or the old, subvolume, which it must be in: "/", "/dir/file". It may be
 * longer than the kernel takes paths. */
char *varve_name_path(const VarveName *name);
char *varve_name_old_path(const VarveName *name);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveNamespace, varve_namespace_free)

#endif
