/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/search.h"
#include <string.h>
#include <sys/ioctl.h>

/* More than the largest item, which is less than 64 KiB. A search with few results costs what it
 * finds, not what there is room for. */
#define BUFFER_SIZE (96 * 1024)

/* Sets *last to the header of the last item. */
static gboolean
hand_over(const struct btrfs_ioctl_search_args_v2 *args, VarveSearchFunc func, gpointer data,
          struct btrfs_ioctl_search_header *last, GError **error)
{
    const guint8 *at = (const guint8 *)args->buf;
    for (guint32 i = 0; i < args->key.nr_items; i++) {
        memcpy(last, at, sizeof *last);
        at += sizeof *last;
        if (!func(last, at, data, error))
            return FALSE;
        at += last->len;
    }
    return TRUE;
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

gboolean
varve_btrfs_search(int fd, const struct btrfs_ioctl_search_key *key, VarveSearchFunc func,
                   gpointer data, GError **error)
{
    g_autofree struct btrfs_ioctl_search_args_v2 *args = g_malloc(sizeof *args + BUFFER_SIZE);
    struct btrfs_ioctl_search_key next = *key;
    struct btrfs_ioctl_search_header last;
    do {
        args->key = next;
        args->key.nr_items = G_MAXUINT32;
        args->buf_size = BUFFER_SIZE;
        if (ioctl(fd, BTRFS_IOC_TREE_SEARCH_V2, args) < 0)
            return varve_error_set_errno(error, errno, "searching the subvolume's tree");
        if (!hand_over(args, func, data, &last, error))
            return FALSE;
    } while (args->key.nr_items > 0 && advance(&next, &last));
    return TRUE;
}
