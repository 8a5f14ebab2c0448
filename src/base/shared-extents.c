/* SPDX-License-Identifier: Apache-2.0 */
#include "base/shared-extents.h"
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#define BATCH 128 /* extents that are asked for at once */
#define WORTH                                                                                      \
    ((off_t)64 * 1024) /* to ask takes 20 us for each file, about as long as to read that */

/* An extent whose place says nothing: it has none yet, or bytes that are compressed and may be any
 * part of what is there (btrfs does not tell which), or none that were written. */
#define NO_PLACE                                                                                   \
    (FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC | FIEMAP_EXTENT_ENCODED |                      \
     FIEMAP_EXTENT_DATA_ENCRYPTED | FIEMAP_EXTENT_NOT_ALIGNED | FIEMAP_EXTENT_DATA_INLINE |        \
     FIEMAP_EXTENT_DATA_TAIL | FIEMAP_EXTENT_UNWRITTEN)

typedef struct {
    int fd;
    struct fiemap *map;
    guint next;    /* the extent in map that is looked at */
    gboolean last; /* there are none after those in map */
} Map;

struct VarveSharedExtents {
    Map a, b;
};

/* A part of a file: nothing is known of it, or it is at a place. */
typedef struct {
    off_t end;
    gboolean placed;
    guint64 place; /* of its first byte */
} Part;

static gboolean
ask(Map *map, off_t from)
{
    map->map->fm_start = (guint64)from;
    map->map->fm_length = FIEMAP_MAX_OFFSET - (guint64)from;
    map->map->fm_flags = FIEMAP_FLAG_SYNC;
    map->map->fm_extent_count = BATCH;
    map->map->fm_mapped_extents = 0;
    map->next = 0;
    map->last = ioctl(map->fd, FS_IOC_FIEMAP, map->map) < 0 || map->map->fm_mapped_extents == 0;
    if (map->last)
        map->map->fm_mapped_extents = 0;
    return !map->last;
}

/* The first one of those in map that ends beyond at. */
static const struct fiemap_extent *
find_in_map(Map *map, off_t at)
{
    for (; map->next < map->map->fm_mapped_extents; map->next++) {
        const struct fiemap_extent *extent = &map->map->fm_extents[map->next];
        if (extent->fe_logical + extent->fe_length > (guint64)at)
            return extent;
        map->last = (extent->fe_flags & FIEMAP_EXTENT_LAST) != 0;
    }
    return NULL;
}

static const struct fiemap_extent *
find_extent(Map *map, off_t at)
{
    const struct fiemap_extent *extent = find_in_map(map, at);
    return extent != NULL || map->last || !ask(map, at) ? extent : find_in_map(map, at);
}

static Part
part_at(Map *map, off_t at)
{
    const struct fiemap_extent *extent = find_extent(map, at);
    if (extent == NULL)
        return (Part){.end = G_MAXINT64};
    if (extent->fe_logical > (guint64)at)
        return (Part){.end = (off_t)extent->fe_logical};
    return (Part){
        .end = (off_t)(extent->fe_logical + extent->fe_length),
        .placed = (extent->fe_flags & NO_PLACE) == 0,
        .place = extent->fe_physical + ((guint64)at - extent->fe_logical),
    };
}

gboolean
varve_shared_extents_same(VarveSharedExtents *shared, off_t at, off_t *end)
{
    Part a = part_at(&shared->a, at), b = part_at(&shared->b, at);
    *end = MIN(a.end, b.end);
    return a.placed && b.placed && a.place == b.place;
}

gboolean
varve_shared_extents_any(VarveSharedExtents *shared, off_t size)
{
    for (off_t at = 0, end; at < size; at = end)
        if (varve_shared_extents_same(shared, at, &end))
            return TRUE;
    return FALSE;
}

/* --- ends ------------------------------------------------------------------------------------- */

/* A place on XFS's other device has the same number as one on the first. */
static gboolean
is_realtime(int fd)
{
    struct fsxattr attributes;
    return ioctl(fd, FS_IOC_FSGETXATTR, &attributes) < 0 ||
           (attributes.fsx_xflags & FS_XFLAG_REALTIME) != 0;
}

/* Which shares blocks, and never writes to those that are shared. */
static gboolean
is_trusted(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 &&
           (fs.f_type == BTRFS_SUPER_MAGIC || (fs.f_type == XFS_SUPER_MAGIC && !is_realtime(fd)));
}

static gboolean
begin(Map *map, int fd)
{
    *map = (Map){.fd = fd};
    map->map = g_malloc0(sizeof *map->map + BATCH * sizeof(struct fiemap_extent));
    return ask(map, 0);
}

VarveSharedExtents *
varve_shared_extents_new(int a, int b, off_t size)
{
    if (size < WORTH || !is_trusted(a) || !is_trusted(b))
        return NULL;
    g_autoptr(VarveSharedExtents) shared = g_new0(VarveSharedExtents, 1);
    if (!begin(&shared->a, a) || !begin(&shared->b, b))
        return NULL;
    return g_steal_pointer(&shared);
}

void
varve_shared_extents_free(VarveSharedExtents *shared)
{
    if (shared == NULL)
        return;
    g_free(shared->a.map);
    g_free(shared->b.map);
    g_free(shared);
}
