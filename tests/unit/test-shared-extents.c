/* SPDX-License-Identifier: Apache-2.0 */
#include "base/shared-extents.h"
#include "scratch.h"
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MIB  ((off_t)1024 * 1024)
#define SIZE (8 * MIB)

static int
make(const Scratch *dir, const char *name)
{
    int fd = openat(dir->fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

static void
put(int fd, off_t at, gsize size, guint8 byte)
{
    g_autofree guint8 *bytes = g_malloc(size);
    memset(bytes, byte, size);
    g_assert_cmpint(pwrite(fd, bytes, size, at), ==, (gssize)size);
}

static guint8 *
get(int fd, gsize size)
{
    guint8 *bytes = g_malloc0(size);
    g_assert_cmpint(pread(fd, bytes, size, 0), >=, 0);
    return bytes;
}

/* What is said to be the same of what both have, in bytes. Asserts that it is. */
static off_t
claimed(int a, int b)
{
    off_t size = MIN(lseek(a, 0, SEEK_END), lseek(b, 0, SEEK_END));
    g_autofree guint8 *x = get(a, (gsize)size), *y = get(b, (gsize)size);
    g_autoptr(VarveSharedExtents) shared = varve_shared_extents_new(a, b, size);
    off_t same = 0, end;
    for (off_t at = 0; shared != NULL && at < size; at = end) {
        gboolean known = varve_shared_extents_same(shared, at, &end);
        g_assert_cmpint(end, >, at);
        end = MIN(end, size);
        if (!known)
            continue;
        same += end - at;
        g_assert_cmpint(memcmp(x + at, y + at, (gsize)(end - at)), ==, 0);
    }
    g_autoptr(VarveSharedExtents) again = varve_shared_extents_new(a, b, size);
    g_assert_cmpint(again != NULL && varve_shared_extents_any(again, size), ==, same > 0);
    return same;
}

static int
clone_of(const Scratch *dir, const char *name, int from)
{
    int fd = make(dir, name);
    g_assert_cmpint(ioctl(fd, FICLONE, from), ==, 0);
    return fd;
}

static void
test_clone(gconstpointer type)
{
    g_autoptr(Scratch) dir = scratch_new(type, 512 << 20);
    if (dir == NULL)
        return;
    varve_autofd a = make(dir, "a");
    put(a, 0, SIZE, 'a');
    varve_autofd b = clone_of(dir, "b", a);
    g_assert_cmpint(claimed(a, b), ==, SIZE);

    /* Not on disk yet: where it will be is not where the other is. */
    put(b, 3 * MIB, 5000, 'b');
    off_t same = claimed(a, b); /* XFS may give it new blocks on both sides of what was written */
    g_assert_cmpint(same, <=, SIZE - 8192);
    g_assert_cmpint(same, >=, SIZE - MIB);

    /* The same bytes at another place are not known to be the same. */
    varve_autofd c = make(dir, "c");
    put(c, 0, SIZE, 'a');
    g_assert_cmpint(claimed(a, c), ==, 0);
}

/* One range of the source at two places of the copy. */
static void
test_moved(gconstpointer type)
{
    g_autoptr(Scratch) dir = scratch_new(type, 512 << 20);
    if (dir == NULL)
        return;
    varve_autofd a = make(dir, "a"), b = make(dir, "b");
    for (int i = 0; i < 8; i++)
        put(a, i * MIB, (gsize)MIB, (guint8)('0' + i));
    struct file_clone_range range = {.src_fd = a, .src_length = 4 * MIB, .dest_offset = MIB};
    g_assert_cmpint(ioctl(b, FICLONERANGE, &range), ==, 0);
    g_assert_cmpint(claimed(a, b), ==, 0);
}

/* Of what is compressed the kernel does not tell which part is used. */
static void
test_compressed(void)
{
    g_autoptr(Scratch) dir = scratch_new("btrfs", 512 << 20);
    if (dir == NULL)
        return;
    varve_autofd a = make(dir, "a");
    unsigned int flags = FS_COMPR_FL;
    g_assert_cmpint(ioctl(a, FS_IOC_SETFLAGS, &flags), ==, 0);
    put(a, 0, SIZE, 'a');
    g_assert_cmpint(fsync(a), ==, 0);
    varve_autofd b = clone_of(dir, "b", a);
    g_assert_cmpint(claimed(a, b), ==, 0);
}

static void
change(GRand *rand, int fd)
{
    off_t at = g_rand_int_range(rand, 0, (gint)SIZE), size = g_rand_int_range(rand, 1, 300000);
    switch (g_rand_int_range(rand, 0, 5)) {
    case 0:
        g_assert_cmpint(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, size), ==, 0);
        break;
    case 1:
        g_assert_cmpint(fallocate(fd, FALLOC_FL_ZERO_RANGE, at, size), ==, 0);
        break;
    case 2:
        g_assert_cmpint(ftruncate(fd, at), ==, 0);
        break;
    default:
        put(fd, at, (gsize)size, (guint8)g_rand_int(rand));
    }
}

/* Copies of copies, changed at random on both sides: whatever is claimed holds. */
static void
test_random(gconstpointer type)
{
    g_autoptr(Scratch) dir = scratch_new(type, 1 << 30);
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);
    if (dir == NULL)
        return;
    off_t same = 0;
    for (int round = 0; round < 40; round++) {
        varve_autofd a = make(dir, "a");
        put(a, 0, SIZE, (guint8)round);
        for (int i = 0; i < 4; i++)
            change(rand, a);
        varve_autofd b = clone_of(dir, "b", a);
        for (int i = 0; i < 3; i++)
            change(rand, g_rand_boolean(rand) ? a : b);
        same += claimed(a, b);
    }
    g_assert_cmpint(same, >, 40 * MIB);
}

static void
test_unknown(gconstpointer type)
{
    g_autoptr(Scratch) dir = scratch_new(type, 64 << 20);
    if (dir == NULL)
        return;
    varve_autofd a = make(dir, "a");
    put(a, 0, (gsize)MIB, 'a');
    g_assert_cmpint(claimed(a, a), ==, 0);
}

int
main(int argc, char **argv)
{
    scratch_init();
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/shared-extents/clone/btrfs", "btrfs", test_clone);
    g_test_add_data_func("/shared-extents/clone/xfs", "xfs", test_clone);
    g_test_add_data_func("/shared-extents/moved/btrfs", "btrfs", test_moved);
    g_test_add_data_func("/shared-extents/moved/xfs", "xfs", test_moved);
    g_test_add_data_func("/shared-extents/random/btrfs", "btrfs", test_random);
    g_test_add_data_func("/shared-extents/random/xfs", "xfs", test_random);
    g_test_add_func("/shared-extents/compressed", test_compressed);
    g_test_add_data_func("/shared-extents/unknown/ext4", "ext4", test_unknown);
    g_test_add_data_func("/shared-extents/unknown/tmpfs", "tmpfs", test_unknown);
    return g_test_run();
}
