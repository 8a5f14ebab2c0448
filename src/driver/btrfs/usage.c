/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/search.h"
#include "driver/btrfs/subvolume.h"
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

/*
 * What a subvolume holds, read from its tree and not from its files.
 *
 * Every block of a tree carries the number of the transaction that wrote it, and a changed block
 * has all blocks above it rewritten. A subvolume shares its blocks with its parent, which does not
 * change any more, until one of them changes. So a search that asks for blocks younger than the
 * parent is answered in time proportional to the change: whole branches that were not touched are
 * passed over.
 *
 * A young block holds old items too. An inode item has the transaction that made the inode, a file
 * extent item that of its extent: only those younger than the parent count.
 *
 * The two part when one is made as a snapshot of the other (the subvolume of its parent by create,
 * the parent of the subvolume by capture) inside a transaction, when that commits: what was written
 * in that same transaction is part of both. What is written afterwards belongs to a later one than
 * any that changed the parent. So younger means greater than the parent's last one.
 *
 * Format: https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html, <linux/btrfs_tree.h>.
 */

typedef struct {
    guint64 start, length; /* on disk */
} Extent;

typedef struct {
    guint64 min_transid;
    gint64 bytes, inodes;
    GArray *extents; /* of Extent: several items may name the same one */
} Count;

static void
count_extent(Count *count, const guint8 *item, gsize length)
{
    struct btrfs_file_extent_item extent = {0};
    const gsize inline_start = offsetof(struct btrfs_file_extent_item, disk_bytenr);
    if (length < inline_start)
        return;
    memcpy(&extent, item, MIN(length, sizeof extent));
    if (GUINT64_FROM_LE(extent.generation) < count->min_transid)
        return;
    if (extent.type == BTRFS_FILE_EXTENT_INLINE) {
        count->bytes += (gint64)(length - inline_start);
        return;
    }
    Extent entry = {GUINT64_FROM_LE(extent.disk_bytenr), GUINT64_FROM_LE(extent.disk_num_bytes)};
    if (entry.start != 0) /* 0: a hole */
        g_array_append_val(count->extents, entry);
}

static void
count_inode(Count *count, const guint8 *item, gsize length)
{
    struct btrfs_inode_item inode = {0};
    memcpy(&inode, item, MIN(length, sizeof inode));
    if (GUINT64_FROM_LE(inode.generation) >= count->min_transid)
        count->inodes++;
}

static gboolean
count_item(const struct btrfs_ioctl_search_header *header, const guint8 *item, gpointer data,
           GError **error)
{
    if (header->type == BTRFS_EXTENT_DATA_KEY)
        count_extent(data, item, header->len);
    else if (header->type == BTRFS_INODE_ITEM_KEY)
        count_inode(data, item, header->len);
    return TRUE;
}

static int
compare_extents(gconstpointer a, gconstpointer b)
{
    const Extent *x = a, *y = b;
    return x->start < y->start ? -1 : x->start > y->start;
}

/* Adds up the extents, each once. */
static void
count_extents(Count *count)
{
    g_array_sort(count->extents, compare_extents);
    guint64 previous = 0;
    for (guint i = 0; i < count->extents->len; i++) {
        Extent *extent = &g_array_index(count->extents, Extent, i);
        if (extent->start != previous)
            count->bytes += (gint64)extent->length;
        previous = extent->start;
    }
}

static gboolean
search(int fd, Count *count, GError **error)
{
    const struct btrfs_ioctl_search_key key = {
        .tree_id = 0, /* the one that fd is in */
        .min_objectid = BTRFS_FIRST_FREE_OBJECTID,
        .max_objectid = BTRFS_LAST_FREE_OBJECTID,
        .max_type = G_MAXUINT8,
        .max_offset = G_MAXUINT64,
        .min_transid = count->min_transid,
        .max_transid = G_MAXUINT64,
    };
    return varve_btrfs_search(fd, &key, count_item, count, error);
}

gboolean
varve_subvolume_last_change(int fd, guint64 *transid, struct timespec *when, GError **error)
{
    struct btrfs_ioctl_get_subvol_info_args info = {0};
    if (ioctl(fd, BTRFS_IOC_GET_SUBVOL_INFO, &info) < 0)
        return varve_error_set_errno(error, errno, "reading when the subvolume was changed");
    *transid = MAX(info.ctransid, info.otransid);
    *when = (struct timespec){(time_t)info.ctime.sec, (long)info.ctime.nsec};
    return TRUE;
}

gboolean
varve_subvolume_usage(int fd, int parent, gint64 *bytes, gint64 *inodes, GError **error)
{
    guint64 parted = 0;
    struct timespec when;
    if (parent >= 0 && !varve_subvolume_last_change(parent, &parted, &when, error))
        return FALSE;
    g_autoptr(GArray) extents = g_array_new(FALSE, FALSE, sizeof(Extent));
    Count count = {.min_transid = parent >= 0 ? parted + 1 : 0, .extents = extents};
    if (!search(fd, &count, error))
        return FALSE;
    count_extents(&count);
    *bytes = count.bytes;
    *inodes = count.inodes;
    return TRUE;
}
