/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/subvolume-names.h"
#include "driver/btrfs/search.h"
#include <limits.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

typedef struct {
    int fd;
    VarveSubvolumeNameFunc func;
    gpointer data;
} Names;

static gboolean
malformed(const struct btrfs_ioctl_search_header *header, GError **error)
{
    return varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "inode %" G_GUINT64_FORMAT
                           " has a malformed name in the subvolume's tree",
                           (guint64)header->objectid);
}

/* --- the names of an inode -------------------------------------------------------------------- */

/* The kernel yields the directory's path with a "/" behind, or "" for the root. */
static gboolean
tell_path(Names *names, guint64 directory, const guint8 *name, gsize length, GError **error)
{
    struct btrfs_ioctl_ino_lookup_args lookup = {.objectid = directory};
    if (ioctl(names->fd, BTRFS_IOC_INO_LOOKUP, &lookup) < 0)
        return varve_error_set_errno(error, errno, "looking up directory %" G_GUINT64_FORMAT,
                                     directory);
    g_autofree char *path = g_strdup_printf("%s%.*s", lookup.name, (int)length, (const char *)name);
    return names->func(path, names->data, error);
}

/* Names of one directory, one after the other. */
static gboolean
read_refs(Names *names, const struct btrfs_ioctl_search_header *header, const guint8 *item,
          GError **error)
{
    struct btrfs_inode_ref ref;
    for (gsize at = 0; at < header->len;) {
        if (header->len - at < sizeof ref)
            return malformed(header, error);
        memcpy(&ref, item + at, sizeof ref);
        gsize length = GUINT16_FROM_LE(ref.name_len);
        at += sizeof ref;
        if (length > NAME_MAX || length > header->len - at)
            return malformed(header, error);
        if (!tell_path(names, header->offset, item + at, length, error))
            return FALSE;
        at += length;
    }
    return TRUE;
}

/* Names that did not fit the above: one by one, each with its directory. */
static gboolean
read_extrefs(Names *names, const struct btrfs_ioctl_search_header *header, const guint8 *item,
             GError **error)
{
    struct btrfs_inode_extref ref;
    for (gsize at = 0; at < header->len;) {
        if (header->len - at < sizeof ref)
            return malformed(header, error);
        memcpy(&ref, item + at, sizeof ref);
        gsize length = GUINT16_FROM_LE(ref.name_len);
        at += sizeof ref;
        if (length > NAME_MAX || length > header->len - at)
            return malformed(header, error);
        if (!tell_path(names, GUINT64_FROM_LE(ref.parent_objectid), item + at, length, error))
            return FALSE;
        at += length;
    }
    return TRUE;
}

static gboolean
read_inode_names(const struct btrfs_ioctl_search_header *header, const guint8 *item, gpointer data,
                 GError **error)
{
    if (header->type == BTRFS_INODE_REF_KEY)
        return read_refs(data, header, item, error);
    return header->type != BTRFS_INODE_EXTREF_KEY || read_extrefs(data, header, item, error);
}

gboolean
varve_subvolume_inode_paths(int fd, guint64 inode, VarveSubvolumeNameFunc func, gpointer data,
                            GError **error)
{
    const struct btrfs_ioctl_search_key key = {
        .min_objectid = inode,
        .max_objectid = inode,
        .min_type = BTRFS_INODE_REF_KEY,
        .max_type = BTRFS_INODE_EXTREF_KEY,
        .max_offset = G_MAXUINT64,
        .max_transid = G_MAXUINT64,
    };
    Names names = {fd, func, data};
    return varve_btrfs_search(fd, &key, read_inode_names, &names, error);
}

/* --- subvolumes in a directory ---------------------------------------------------------------- */

static gboolean
read_entry(const struct btrfs_ioctl_search_header *header, const guint8 *item, gpointer data,
           GError **error)
{
    Names *names = data;
    struct btrfs_dir_item entry;
    if (header->len < sizeof entry)
        return malformed(header, error);
    memcpy(&entry, item, sizeof entry);
    gsize length = GUINT16_FROM_LE(entry.name_len);
    if (length > NAME_MAX || length > header->len - sizeof entry)
        return malformed(header, error);
    if (entry.location.type != BTRFS_ROOT_ITEM_KEY)
        return TRUE;
    g_autofree char *name = g_strndup((const char *)item + sizeof entry, length);
    return names->func(name, names->data, error);
}

gboolean
varve_subvolume_nested_names(int fd, guint64 directory, guint64 younger_than,
                             VarveSubvolumeNameFunc func, gpointer data, GError **error)
{
    const struct btrfs_ioctl_search_key key = {
        .min_objectid = directory,
        .max_objectid = directory,
        .min_type = BTRFS_DIR_INDEX_KEY,
        .max_type = BTRFS_DIR_INDEX_KEY,
        .max_offset = G_MAXUINT64,
        .min_transid = younger_than + 1,
        .max_transid = G_MAXUINT64,
    };
    Names names = {fd, func, data};
    return varve_btrfs_search(fd, &key, read_entry, &names, error);
}
