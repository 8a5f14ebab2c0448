/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"
#include "driver/btrfs/subvolume.h"
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

/*
 * What a subvolume holds, read from its tree and not from its files.
 *
 * Every block of a tree carries the number of the transaction that wrote it, and a changed block
 * has all blocks above it rewritten. A snapshot shares its blocks with its origin until one of them
 * changes. So a search that asks for blocks younger than the snapshot is answered in time
 * proportional to the change: whole branches that were not touched are passed over.
 *
 * A young block holds old items too. An inode item has the transaction that made the inode, a file
 * extent item that of its extent: only those younger than the snapshot count.
 *
 * The snapshot is taken inside a transaction, its otransid, when that commits: what was written to
 * the origin in that same transaction is part of both. What is written to the snapshot belongs to a
 * later one. So younger means greater than otransid.
 *
 * Format: https://btrfs.readthedocs.io/en/latest/dev/On-disk-format.html, <linux/btrfs_tree.h>.
 */

#define BUFFER_SIZE (256 * 1024) /* many times the largest item, which is less than 64 KiB */

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

/* Counts the items that a search yielded; returns the header of the last one. */
static struct btrfs_ioctl_search_header
count_items(Count *count, const struct btrfs_ioctl_search_args_v2 *args)
{
    struct btrfs_ioctl_search_header header = {0};
    const guint8 *at = args->buf;
    for (guint32 i = 0; i < args->key.nr_items; i++) {
        memcpy(&header, at, sizeof header);
        at += sizeof header;
        if (header.type == BTRFS_EXTENT_DATA_KEY)
            count_extent(count, at, header.len);
        else if (header.type == BTRFS_INODE_ITEM_KEY)
            count_inode(count, at, header.len);
        at += header.len;
    }
    return header;
}

/* Sets the key to what follows the last one; FALSE when nothing can. */
static gboolean
advance(struct btrfs_ioctl_search_key *key, const struct btrfs_ioctl_search_header *last)
{
    key->min_objectid = last->objectid;
    key->min_type = last->type;
    key->min_offset = last->offset + 1;
    if (key->min_offset == 0 && ++key->min_type > G_MAXUINT8) {
        key->min_type = 0;
        key->min_objectid++;
    }
    return key->min_objectid <= key->max_objectid;
}

static gboolean
search(int fd, Count *count, GError **error)
{
    g_autofree struct btrfs_ioctl_search_args_v2 *args = g_malloc0(sizeof *args + BUFFER_SIZE);
    struct btrfs_ioctl_search_key key = {
        .tree_id = 0, /* the one that fd is in */
        .min_objectid = BTRFS_FIRST_FREE_OBJECTID,
        .max_objectid = BTRFS_LAST_FREE_OBJECTID,
        .max_type = G_MAXUINT8,
        .max_offset = G_MAXUINT64,
        .min_transid = count->min_transid,
        .max_transid = G_MAXUINT64,
    };
    struct btrfs_ioctl_search_header last;
    do {
        args->key = key;
        args->key.nr_items = G_MAXUINT32;
        args->buf_size = BUFFER_SIZE;
        if (ioctl(fd, BTRFS_IOC_TREE_SEARCH_V2, args) < 0)
            return varve_error_set_errno(error, errno, "searching the subvolume's tree");
        last = count_items(count, args);
    } while (args->key.nr_items > 0 && advance(&key, &last));
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

gboolean
varve_subvolume_usage(int fd, gboolean beyond_origin, gint64 *bytes, gint64 *inodes, GError **error)
{
    struct btrfs_ioctl_get_subvol_info_args info = {0};
    if (beyond_origin && ioctl(fd, BTRFS_IOC_GET_SUBVOL_INFO, &info) < 0)
        return varve_error_set_errno(error, errno, "reading when the snapshot was made");

    g_autoptr(GArray) extents = g_array_new(FALSE, FALSE, sizeof(Extent));
    Count count = {.min_transid = beyond_origin ? info.otransid + 1 : 0, .extents = extents};
    if (!search(fd, &count, error))
        return FALSE;
    count_extents(&count);
    *bytes = count.bytes;
    *inodes = count.inodes;
    return TRUE;
}
