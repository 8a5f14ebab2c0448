/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "driver/btrfs/search.h"
#include "driver/btrfs/subvolume.h"
#include <limits.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <string.h>
#include <sys/ioctl.h>

/*
 * Subvolumes inside a snapshot. Anybody who may write in a directory may make one there, so a
 * container may have made any number of them: one inside the other, read-only, below paths longer
 * than any path-taking call allows, hidden by mounts. So they are not looked for in the tree of
 * files: the tree of roots names the subvolumes in a subvolume (ROOT_REF items), each with the
 * inode of the directory that it is in, and that directory is opened by a file handle.
 * Format: https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html, <linux/btrfs_tree.h>.
 */

typedef struct {
    guint64 id;
    guint64 directory; /* inode number, in the parent's tree */
    char name[NAME_MAX + 1];
} Child;

static gboolean
read_generation(const struct btrfs_ioctl_search_header *header, const guint8 *item, gpointer data,
                GError **error)
{
    struct btrfs_inode_item inode;
    memcpy(&inode, item, MIN(header->len, sizeof inode.generation));
    *(guint32 *)data = (guint32)GUINT64_FROM_LE(inode.generation);
    return TRUE;
}

static gboolean
find_generation(int fd, guint64 tree, guint64 inode, guint32 *generation, GError **error)
{
    const struct btrfs_ioctl_search_key key = {
        .tree_id = tree,
        .min_objectid = inode,
        .max_objectid = inode,
        .min_type = BTRFS_INODE_ITEM_KEY,
        .max_type = BTRFS_INODE_ITEM_KEY,
        .max_offset = G_MAXUINT64,
        .max_transid = G_MAXUINT64,
    };
    *generation = 0;
    return varve_btrfs_search(fd, &key, read_generation, generation, error);
}

/* Opens an inode, a directory, of any subvolume. The handle is what name_to_handle_at(2) yields for
 * btrfs, as NFS clients keep it: inode, tree, and the inode's generation (where 0 would be any, but
 * not in Linux 6.1). */
static int
open_inode(int fd, guint64 tree, guint64 inode, GError **error)
{
    enum { HANDLE_TYPE = 0x4d, HANDLE_BYTES = 20 };
    union {
        struct file_handle header;
        char space[sizeof(struct file_handle) + HANDLE_BYTES];
    } handle = {.header = {.handle_bytes = HANDLE_BYTES, .handle_type = HANDLE_TYPE}};
    guint32 generation;
    if (!find_generation(fd, tree, inode, &generation, error))
        return -1;
    memcpy(handle.header.f_handle, &inode, sizeof inode);
    memcpy(handle.header.f_handle + sizeof inode, &tree, sizeof tree);
    memcpy(handle.header.f_handle + sizeof inode + sizeof tree, &generation, sizeof generation);

    int result = open_by_handle_at(fd, &handle.header, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (result < 0)
        varve_error_set_errno(
            error, errno, "opening directory %" G_GUINT64_FORMAT " of subvolume %" G_GUINT64_FORMAT,
            inode, tree);
    return result;
}

/* Finds one of the subvolumes in a subvolume; child->id is 0 when there is none. */
static gboolean
find_child(int fd, guint64 id, Child *child, GError **error)
{
    struct btrfs_ioctl_search_args args = {
        .key = {.tree_id = BTRFS_ROOT_TREE_OBJECTID,
                .min_objectid = id,
                .max_objectid = id,
                .min_type = BTRFS_ROOT_REF_KEY,
                .max_type = BTRFS_ROOT_REF_KEY,
                .max_offset = G_MAXUINT64,
                .max_transid = G_MAXUINT64,
                .nr_items = 1},
    };
    *child = (Child){0};
    if (ioctl(fd, BTRFS_IOC_TREE_SEARCH, &args) < 0)
        return varve_error_set_errno(error, errno,
                                     "looking for subvolumes in subvolume %" G_GUINT64_FORMAT, id);
    if (args.key.nr_items == 0)
        return TRUE;

    struct btrfs_ioctl_search_header header;
    struct btrfs_root_ref ref;
    memcpy(&header, args.buf, sizeof header);
    memcpy(&ref, args.buf + sizeof header, sizeof ref);
    gsize length = GUINT16_FROM_LE(ref.name_len);
    if (length > NAME_MAX || header.len < sizeof ref + length)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "subvolume %" G_GUINT64_FORMAT " has a malformed root reference",
                               id);
    child->id = header.offset;
    child->directory = GUINT64_FROM_LE(ref.dirid);
    memcpy(child->name, args.buf + sizeof header + sizeof ref, length);
    return TRUE;
}

static int
destroy(int dirfd, const char *name)
{
    struct btrfs_ioctl_vol_args args = {0};
    g_strlcpy(args.name, name, sizeof args.name);
    return ioctl(dirfd, BTRFS_IOC_SNAP_DESTROY, &args) < 0 ? errno : 0;
}

/* Tries to delete a child; *full is set when it has subvolumes itself. Its parent may be read-only,
 * which protects what is in it, and is on its way out itself. */
static gboolean
delete_child(int fd, guint64 parent, const Child *child, gboolean *full, GError **error)
{
    varve_autofd dir = open_inode(fd, parent, child->directory, error);
    if (dir < 0)
        return FALSE;
    int result = destroy(dir, child->name);
    if (result == EROFS) {
        varve_autofd root = open_inode(fd, parent, BTRFS_FIRST_FREE_OBJECTID, error);
        if (root < 0 || !varve_subvolume_set_readonly(root, FALSE, error))
            return FALSE;
        result = destroy(dir, child->name);
    }
    *full = result == ENOTEMPTY;
    return result == 0 || *full ||
           varve_error_set_errno(error, result, "deleting nested subvolume %s", child->name);
}

gboolean
varve_subvolume_delete_nested(int fd, guint64 id, GError **error)
{
    /* The way down to the subvolume that is being emptied. What cannot be deleted yet is emptied
     * first, and found again by its parent's next turn. */
    g_autoptr(GArray) way = g_array_new(FALSE, FALSE, sizeof id);
    g_array_append_val(way, id);
    guint64 emptied = 0;
    while (way->len > 0) {
        guint64 parent = g_array_index(way, guint64, way->len - 1);
        Child child;
        gboolean full = FALSE;
        if (!find_child(fd, parent, &child, error))
            return FALSE;
        if (child.id == 0) {
            g_array_set_size(way, way->len - 1);
            emptied = parent;
        } else if (!delete_child(fd, parent, &child, &full, error)) {
            return FALSE;
        } else if (full && child.id == emptied) { /* never seen; but never go round for ever */
            return varve_error_set(error, VARVE_ERROR_BUSY,
                                   "deleting nested subvolume %s: it is filled again and again",
                                   child.name);
        } else if (full) {
            g_array_append_val(way, child.id);
        }
    }
    return TRUE;
}
