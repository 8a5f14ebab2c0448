/* SPDX-License-Identifier: Apache-2.0 */
#include "base/xattrs.h"
#include "driver-pool.h"
#include "driver/btrfs/subvolume.h"
#include "pool-stream.h"
#include "tree-compare.h"
#include "tree-everything.h"
#include "tree-mutate.h"
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Snapshots sent by the kernel and received by us, from one btrfs to another: the result is the
 * same to the last attribute and hole, whatever was done in between. What a stream that is no
 * kernel's can do is for test-btrfs-receive.c.
 *
 * VARVE_TEST_ROUNDS=N does N random rounds instead of some, VARVE_TEST_SEED=N other ones.
 */

#define DEFAULT_ROUNDS 50
#define DEFAULT_SEED   20261122

static const PoolCase btrfs = {&varve_driver_btrfs, "btrfs"};

/* --- sending and receiving -------------------------------------------------------------------- */

typedef struct {
    Pool *from, *to;
} Pools;

static gboolean
pools_new(Pools *pools)
{
    *pools = (Pools){.from = pool_new(&btrfs)};
    pools->to = pools->from != NULL ? pool_new(&btrfs) : NULL;
    return pools->to != NULL;
}

static void
pools_free(Pools *pools)
{
    pool_free(pools->from);
    pool_free(pools->to);
}

static int
open_snapshot(Pool *pool, guint64 id)
{
    g_autofree char *path = g_strdup_printf("pool/subvolumes/%u/%u", (guint)id % 64, (guint)id);
    int fd = openat(pool->scratch->fd, path, O_RDONLY | O_DIRECTORY | O_NOATIME);
    g_assert_no_errno(fd);
    return fd;
}

/* --- comparing -------------------------------------------------------------------------------- */

static off_t
data_of(int dirfd, const char *name)
{
    varve_autofd fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NOATIME);
    off_t sum = 0;
    g_assert_no_errno(fd);
    for (off_t at = lseek(fd, 0, SEEK_DATA); at >= 0; at = lseek(fd, at, SEEK_DATA)) {
        off_t end = lseek(fd, at, SEEK_HOLE);
        sum += end - at;
        at = end;
    }
    return sum;
}

/* A hole stays one, but that the kernel may keep a block of zeros at what was a file's end; and
 * zeros may become a hole (see receive.h). The holes that are made here are larger. */
static void
compare_data(int a, int b, const char *name)
{
    g_assert_cmpint(data_of(b, name), <=, data_of(a, name) + 2 * 4096);
}

static void
compare_holes(int a, int b)
{
    g_autoptr(GPtrArray) names = tree_names(a);
    for (guint i = 0; i < names->len; i++) {
        struct stat st;
        const char *name = names->pdata[i];
        g_assert_no_errno(fstatat(a, name, &st, AT_SYMLINK_NOFOLLOW));
        if (S_ISDIR(st.st_mode)) {
            varve_autofd x = openat(a, name, O_RDONLY | O_DIRECTORY | O_NOATIME);
            varve_autofd y = openat(b, name, O_RDONLY | O_DIRECTORY | O_NOATIME);
            compare_holes(x, y);
        } else if (S_ISREG(st.st_mode)) {
            compare_data(a, b, name);
        }
    }
}

static void
assert_same(const Pools *pools, guint64 id, guint64 received)
{
    varve_autofd a = open_snapshot(pools->from, id), b = open_snapshot(pools->to, received);
    tree_compare(a, b);
    compare_holes(a, b);
    g_assert_cmpint(openat(b, "new", O_WRONLY | O_CREAT, 0644), <, 0);
    g_assert_cmpint(errno, ==, EROFS);
}

/* Sends and receives under another id, on base if it is not 0, and compares. */
static void
transfer_as(const Pools *pools, guint64 id, guint64 base, guint64 received)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GByteArray) stream = pool_send(pools->from, id, base);
    pool_receive(pools->to, received, base, stream->data, stream->len, &error);
    g_assert_no_error(error);
    g_assert_true(pools->to->driver->sync(pools->to->self, received, &error));
    g_assert_no_error(error);
    assert_same(pools, id, received);
}

static void
transfer(const Pools *pools, guint64 id, guint64 base)
{
    transfer_as(pools, id, base, id);
}

/* --- cases ------------------------------------------------------------------------------------ */

typedef void (*Work)(int root);

static void
work(Pool *pool, guint64 id, Work func)
{
    pool_create(pool, snapshot(ACTIVE, id, id - 1));
    varve_autofd root = open_snapshot(pool, id);
    func(root);
    varve_fd_clear(&root);
    pool_commit(pool, id);
}

static void
write_block(int root, const char *name, off_t at, char byte, gsize size)
{
    varve_autofd fd = openat(root, name, O_WRONLY | O_CREAT, 0644);
    g_autofree char *bytes = g_malloc(size + 1); /* never NULL */
    memset(bytes, byte, size);
    g_assert_no_errno(fd);
    g_assert_cmpint(pwrite(fd, bytes, size, at), ==, size);
}

static void
set_xattr(int root, const char *name, const char *xattr, const void *value, gsize size)
{
    g_assert_no_errno(varve_xattrs_set((VarveFile){root, name}, xattr, value, size));
}

static void
make_everything(int root)
{
    tree_make_everything(root, "all");
}

static void
change_everything(int root)
{
    g_assert_no_errno(renameat(root, "all", root, "moved"));
    write_block(root, "moved/file", 100000, 'x', 5000); /* which has further names */
    write_block(root, "moved/sparse-hole", 1 << 20, 'x', 5000);
    g_assert_no_errno(unlinkat(root, "moved/hard-1", 0));
    g_assert_no_errno(fchmod(root, 0711));
    g_assert_no_errno(fchown(root, 5, 6));
    set_xattr(root, ".", "user.root", "r", 1);
}

/* A hole that was made, one behind the end, and zeros that are none. */
static void
make_full(int root)
{
    write_block(root, "punched", 0, 'p', 4 << 20);
    write_block(root, "longer", 0, 'l', 1 << 20);
    write_block(root, "shorter", 0, 's', 1 << 20);
}

static void
make_holes(int root)
{
    varve_autofd fd = openat(root, "punched", O_WRONLY);
    g_assert_no_errno(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1 << 20, 2 << 20));
    varve_autofd longer = openat(root, "longer", O_WRONLY);
    g_assert_no_errno(ftruncate(longer, 8 << 20));
    varve_autofd shorter = openat(root, "shorter", O_WRONLY);
    g_assert_no_errno(ftruncate(shorter, 5000));
    g_assert_no_errno(ftruncate(shorter, 3 << 20));
    write_block(root, "zeros", 0, '\0', 1 << 20);
    write_block(root, "zeros", 3 << 20, '\0', 1 << 20);
}

static void
share(int root, const char *of, off_t from, gsize length, const char *name, off_t to)
{
    varve_autofd source = openat(root, of, O_RDONLY);
    varve_autofd fd = openat(root, name, O_WRONLY | O_CREAT, 0644);
    struct file_clone_range range = {source, (guint64)from, length, (guint64)to};
    g_assert_no_errno(ioctl(fd, FICLONERANGE, &range));
}

static void
make_shared(int root)
{
    write_block(root, "original", 0, 'o', 4 << 20);
    write_block(root, "original", 1 << 20, 'O', 1 << 20);
}

/* With the base, with a file of the same snapshot, and within one file. */
static void
share_blocks(int root)
{
    share(root, "original", 0, 4 << 20, "copy", 0);
    share(root, "original", 1 << 20, 1 << 20, "part", 8 << 20);
    write_block(root, "new", 0, 'n', 4 << 20);
    share(root, "new", 0, 4 << 20, "copy-of-new", 4 << 20);
    share(root, "new", 0, 1 << 20, "new", 16 << 20);
    g_assert_no_errno(renameat(root, "original", root, "renamed"));
}

/* The kernel's streams make all in the root directory. */
static void
set_default_acl(int root)
{
    set_xattr(root, ".", "system.posix_acl_default", tree_acl, sizeof tree_acl);
    write_block(root, "inherits", 0, 'i', 10);
    g_assert_no_errno(mkdirat(root, "dir", 0755));
    write_block(root, "without", 0, 'w', 10);
    set_xattr(root, "without", "system.posix_acl_access", NULL, 0);
}

static void
add_without_acl(int root)
{
    write_block(root, "dir/new", 0, 'n', 10);
    set_xattr(root, "dir/new", "user.x", "x", 1);
    write_block(root, "another", 0, 'a', 10);
    set_xattr(root, "another", "system.posix_acl_access", NULL, 0);
}

static void
remove_default_acl(int root)
{
    set_xattr(root, ".", "system.posix_acl_default", NULL, 0);
}

static void
make_privileged(int root)
{
    static const guint8 capability[] = {1, 0, 0, 2, 0, 32, 0, 0, 0, 0,
                                        0, 0, 0, 0, 0, 0,  0, 0, 0, 0};
    write_block(root, "setuid", 0, 's', 100);
    g_assert_no_errno(fchownat(root, "setuid", 3, 4, 0));
    g_assert_no_errno(fchmodat(root, "setuid", 06755, 0));
    set_xattr(root, "setuid", "security.capability", capability, sizeof capability);
}

static void
rewrite_privileged(int root)
{
    write_block(root, "setuid", 0, 't', 200);
    make_privileged(root);
    g_assert_no_errno(fchownat(root, "setuid", 5, 6, 0));
    make_privileged(root);
}

static const struct {
    const char *name;
    Work works[3]; /* each a snapshot on the one before */
} cases[] = {
    {"everything", {make_everything, change_everything}},
    {"shared", {make_shared, share_blocks}},
    {"default-acl", {set_default_acl, add_without_acl, remove_default_acl}},
    {"privileged", {make_privileged, rewrite_privileged}},
};

/* Each step as a difference to the one before, the last one whole and as a difference to the first
 * one too. */
static void
test_case(gconstpointer data)
{
    const Work *works = data;
    Pools pools;
    guint64 last = 0;
    if (!pools_new(&pools))
        return;
    for (; last < 3 && works[last] != NULL; last++) {
        work(pools.from, last + 1, works[last]);
        transfer(&pools, last + 1, last);
    }
    transfer_as(&pools, last, 0, 10);
    transfer_as(&pools, last, 1, 11);
    pools_free(&pools);
}

/* --- holes ------------------------------------------------------------------------------------ */

static void
assert_allocated(int root, const char *name, gint64 bytes)
{
    struct stat st;
    g_assert_no_errno(fstatat(root, name, &st, 0));
    g_assert_cmpint(st.st_blocks * 512, ==, bytes);
}

/* The kernel tells a hole as zeros. Zeros in a new file are no hole. */
static void
test_holes(void)
{
    Pools pools;
    if (!pools_new(&pools))
        return;
    work(pools.from, 1, make_full);
    work(pools.from, 2, make_holes);
    transfer(&pools, 1, 0);
    transfer(&pools, 2, 1);
    varve_autofd root = open_snapshot(pools.to, 2);
    assert_allocated(root, "punched", 2 << 20);
    assert_allocated(root, "longer", 1 << 20);
    assert_allocated(root, "shorter", 8192);
    assert_allocated(root, "zeros", 2 << 20);
    varve_fd_clear(&root);
    pools_free(&pools);
}

/* --- what is on disk -------------------------------------------------------------------------- */

static gint64
bytes_of(Pool *pool, guint64 id, guint64 base)
{
    VarveUsage usage;
    g_autoptr(GError) error = NULL;
    g_assert_true(
        pool->driver->usage(pool->self, snapshot(VARVE_KIND_COMMITTED, id, base), &usage, &error));
    g_assert_no_error(error);
    return usage.bytes;
}

static void
test_stays_shared(void)
{
    Pools pools;
    if (!pools_new(&pools))
        return;
    work(pools.from, 1, make_shared);
    work(pools.from, 2, share_blocks);
    transfer(&pools, 1, 0);
    transfer(&pools, 2, 1);
    g_autoptr(GByteArray) stream = pool_send(pools.from, 2, 1);
    g_assert_cmpuint(stream->len, <, 5 << 20); /* of 16 MiB that can be seen */
    g_assert_cmpint(bytes_of(pools.to, 2, 1), <, 5 << 20);
    pools_free(&pools);
}

static void
make_compressed(int root)
{
    static const char *const ways[] = {"zstd", "zlib", "lzo"};
    for (gsize i = 0; i < G_N_ELEMENTS(ways); i++) {
        write_block(root, ways[i], 0, '-', 0);
        set_xattr(root, ways[i], "btrfs.compression", ways[i], strlen(ways[i]));
        write_block(root, ways[i], 0, 'z', 1 << 20);
        write_block(root, ways[i], 3 << 20, 'y', 300000);
    }
}

static void
change_compressed(int root)
{
    write_block(root, "zstd", 200000, 'x', 100);
    write_block(root, "zlib", 100000, 'x', 200000);
}

/* It goes over the wire, and comes to disk, as it is. */
static void
test_compressed(void)
{
    Pools pools;
    if (!pools_new(&pools))
        return;
    work(pools.from, 1, make_compressed);
    work(pools.from, 2, change_compressed);
    transfer(&pools, 1, 0);
    transfer(&pools, 2, 1);
    g_autoptr(GByteArray) stream = pool_send(pools.from, 1, 0);
    g_assert_cmpuint(stream->len, <, 1 << 20); /* of 4 MiB */
    g_assert_cmpint(bytes_of(pools.to, 1, 0), <, 1 << 20);
    pools_free(&pools);
}

/* --- subvolumes inside ------------------------------------------------------------------------ */

static void
make_nested(int root)
{
    g_autoptr(GError) error = NULL;
    g_assert_no_errno(mkdirat(root, "dir", 0755));
    varve_autofd dir = openat(root, "dir", O_RDONLY | O_DIRECTORY);
    g_assert_true(varve_subvolume_create(dir, "inner", &error));
    g_assert_true(varve_subvolume_create(root, "outer", &error));
    g_assert_no_error(error);
    pool_write_file(root, "dir/inner/file", "not part of it");
    pool_write_file(root, "file", "part of it");
}

static void
replace_nested(int root)
{
    g_assert_no_errno(unlinkat(root, "dir", AT_REMOVEDIR));
    pool_write_file(root, "outer", "a file now");
}

/* They are not sent. Where the base has them, or what is left of them, they do not stand in the
 * way of a difference that came back from elsewhere. */
static void
test_nested(void)
{
    Pools pools;
    g_autoptr(GError) error = NULL;
    if (!pools_new(&pools))
        return;
    work(pools.from, 1, make_nested);
    g_autoptr(GByteArray) whole = pool_send(pools.from, 1, 0);
    pool_receive(pools.to, 1, 0, whole->data, whole->len, &error);
    g_assert_no_error(error);
    varve_autofd root = open_snapshot(pools.to, 1);
    g_autoptr(GPtrArray) names = tree_names(root);
    g_assert_cmpuint(names->len, ==, 2);
    pool_assert_file(root, "file", "part of it");

    work(pools.to, 2, replace_nested);
    g_autoptr(GByteArray) back = pool_send(pools.to, 2, 1);
    pool_receive(pools.from, 2, 1, back->data, back->len, &error);
    g_assert_no_error(error);
    varve_autofd received = open_snapshot(pools.from, 2);
    pool_assert_file(received, "outer", "a file now");
    g_assert_cmpint(faccessat(received, "dir", F_OK, 0), <, 0);
    varve_fd_clear(&root);
    varve_fd_clear(&received);
    pools_free(&pools);
}

/* --- streams that are not what they should be ---------------------------------------------------
 */

static void
make_small(int root)
{
    write_block(root, "a", 0, 'a', 10000);
    g_assert_no_errno(mkdirat(root, "d", 0755));
    pool_write_file(root, "d/b", "b");
    g_assert_no_errno(symlinkat("a", root, "l"));
}

static void
change_small(int root)
{
    write_block(root, "a", 5000, 'b', 100);
    g_assert_no_errno(renameat(root, "d/b", root, "c"));
    g_assert_no_errno(unlinkat(root, "d", AT_REMOVEDIR));
}

/* Cut anywhere, or with any bit wrong, or with something behind it: refused, and nothing is left.
 */
static void
test_damaged(void)
{
    Pools pools;
    if (!pools_new(&pools))
        return;
    work(pools.from, 1, make_small);
    g_autoptr(GByteArray) stream = pool_send(pools.from, 1, 0);
    for (gsize length = 0; length < stream->len; length += 1 + length / 97)
        pool_assert_refused(pools.to, 1, 0, stream->data, length);
    for (gsize at = 17; at < stream->len; at += 1 + at / 53) {
        stream->data[at] ^= 0x10;
        pool_assert_refused(pools.to, 1, 0, stream->data, stream->len);
        stream->data[at] ^= 0x10;
    }
    g_byte_array_append(stream, (const guint8 *)"x", 1);
    pool_assert_refused(pools.to, 1, 0, stream->data, stream->len);
    pool_assert_listed(pools.to, 0);
    pools_free(&pools);
}

static void
test_wrong_base(void)
{
    Pools pools;
    g_autoptr(GError) missing = NULL;
    if (!pools_new(&pools))
        return;
    work(pools.from, 1, make_small);
    work(pools.from, 2, change_small);
    g_autoptr(GByteArray) whole = pool_send(pools.from, 1, 0),
                          difference = pool_send(pools.from, 2, 1);
    work(pools.to, 1, make_full);
    pool_assert_refused(pools.to, 2, 1, whole->data, whole->len);
    pool_assert_refused(pools.to, 2, 0, difference->data, difference->len);
    pool_assert_refused(pools.to, 2, 1, difference->data, difference->len); /* another one */
    g_assert_false(pool_receive(pools.to, 2, 9, difference->data, difference->len, &missing));
    g_assert_error(missing, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
    g_clear_error(&missing);
    g_assert_false(pool_receive(pools.to, 1, 0, whole->data, whole->len, &missing));
    g_assert_error(missing, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS);
    pool_assert_listed(pools.to, POOL_ID(1));
    pools_free(&pools);
}

/* --- ending early ----------------------------------------------------------------------------- */

static gboolean
refuse(gpointer data, const void *bytes, gsize size, GError **error)
{
    return varve_error_set(error, VARVE_ERROR_UNAVAILABLE, "mine");
}

static gssize
cancel_reading(gpointer data, void *buffer, gsize size, GError **error)
{
    gint *cancelled = data;
    if (*cancelled) {
        varve_error_set(error, VARVE_ERROR_UNAVAILABLE, "read again");
        return -1;
    }
    *cancelled = TRUE;
    memcpy(buffer, "btrfs-stream", 13);
    return 13;
}

static void
test_ends(void)
{
    Pools pools;
    if (!pools_new(&pools))
        return;
    g_autoptr(GError) mine = NULL, send_error = NULL, receive_error = NULL;
    gint cancelled = FALSE;
    const VarveSink sink = {refuse, NULL};
    work(pools.from, 1, make_full);
    Pool *pool = pools.from;
    const VarveDriverSnapshot *of = snapshot(VARVE_KIND_COMMITTED, 1);
    g_assert_false(pool->driver->send(pool->self, of, 0, POOL_SCRATCH, &sink, &mine));
    g_assert_error(mine, VARVE_ERROR, VARVE_ERROR_UNAVAILABLE);

    pool->host.cancelled = &cancelled;
    const VarveSource source = {cancel_reading, &cancelled};
    const VarveDriverSnapshot *fresh = snapshot(VARVE_KIND_COMMITTED, 2);
    g_assert_false(pool->driver->receive(pool->self, fresh, &source, &receive_error));
    g_assert_error(receive_error, VARVE_ERROR, VARVE_ERROR_CANCELLED);
    g_autoptr(GByteArray) stream = g_byte_array_new();
    const VarveSink good = {pool_append, stream};
    g_assert_false(pool->driver->send(pool->self, of, 0, POOL_SCRATCH, &good, &send_error));
    g_assert_error(send_error, VARVE_ERROR, VARVE_ERROR_CANCELLED);
    pool->host.cancelled = NULL;
    pool_assert_listed(pool, POOL_ID(1));
    pools_free(&pools);
}

static void
make_large(int root)
{
    write_block(root, "large", 0, 'l', 100 << 20);
}

static void
test_full_disk(void)
{
    Pools pools;
    if (!pools_new(&pools))
        return;
    g_autoptr(GError) full = NULL;
    work(pools.from, 1, make_large);
    g_autoptr(GByteArray) stream = pool_send(pools.from, 1, 0);
    guint64 size, free;
    g_assert_true(pools.to->driver->space(pools.to->self, &size, &free, NULL));
    varve_autofd ballast = openat(pools.to->scratch->fd, "ballast", O_WRONLY | O_CREAT, 0600);
    g_assert_no_errno(fallocate(ballast, 0, 0, (off_t)free - (50 << 20)));
    g_assert_false(pool_receive(pools.to, 1, 0, stream->data, stream->len, &full));
    g_assert_error(full, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
    pool_assert_listed(pools.to, 0);
    varve_fd_clear(&ballast);
    g_assert_no_errno(unlinkat(pools.to->scratch->fd, "ballast", 0));
    transfer(&pools, 1, 0);
    pools_free(&pools);
}

/* --- random rounds ---------------------------------------------------------------------------- */

static guint
number_from(const char *variable, guint fallback)
{
    const char *text = g_getenv(variable);
    return text != NULL ? (guint)strtoul(text, NULL, 10) : fallback;
}

static void
do_round(const Pools *pools, guint64 id, GRand *numbers)
{
    pool_create(pools->from, snapshot(ACTIVE, id, id - 1));
    varve_autofd root = open_snapshot(pools->from, id);
    tree_mutate(root, numbers, id == 1 ? 150 : (guint)g_rand_int_range(numbers, 1, 60));
    varve_fd_clear(&root);
    pool_commit(pools->from, id);
    transfer(pools, id, id - 1);
}

/* Each snapshot on the one before. At the end of a row the last one is sent whole, and as the
 * difference to the first. */
static void
test_random(void)
{
    enum { LENGTH = 10 };
    guint rounds = number_from("VARVE_TEST_ROUNDS", DEFAULT_ROUNDS);
    guint32 seed = number_from("VARVE_TEST_SEED", DEFAULT_SEED);
    Pools pools;
    if (!pools_new(&pools))
        return;
    for (guint done = 0; done < rounds; done += LENGTH, seed++) {
        g_test_message("VARVE_TEST_SEED=%u", seed);
        GRand *numbers = g_rand_new_with_seed(seed);
        for (guint64 id = 1; id <= LENGTH; id++)
            do_round(&pools, id, numbers);
        transfer_as(&pools, LENGTH, 0, 20);
        transfer_as(&pools, LENGTH, 1, 21);
        pool_discard(pools.to, 20);
        pool_discard(pools.to, 21);
        for (guint64 id = LENGTH; id > 0; id--) {
            pool_discard(pools.from, id);
            pool_discard(pools.to, id);
        }
        g_rand_free(numbers);
    }
    pools_free(&pools);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    scratch_init();
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *path = g_strdup_printf("/btrfs-stream/%s", cases[i].name);
        g_test_add_data_func(path, cases[i].works, test_case);
    }
    g_test_add_func("/btrfs-stream/holes", test_holes);
    g_test_add_func("/btrfs-stream/stays-shared", test_stays_shared);
    g_test_add_func("/btrfs-stream/compressed", test_compressed);
    g_test_add_func("/btrfs-stream/nested", test_nested);
    g_test_add_func("/btrfs-stream/damaged", test_damaged);
    g_test_add_func("/btrfs-stream/wrong-base", test_wrong_base);
    g_test_add_func("/btrfs-stream/ends", test_ends);
    g_test_add_func("/btrfs-stream/full-disk", test_full_disk);
    g_test_add_func("/btrfs-stream/random", test_random);
    return g_test_run();
}
