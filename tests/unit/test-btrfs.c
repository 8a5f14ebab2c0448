/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "driver/btrfs/subvolume.h"
#include "driver/driver.h"
#include "mount-scratch.h"
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define DRIVER varve_driver_btrfs

static const char *skip;

/* --- a pool, as the engine would have it -------------------------------------------------------
 */

typedef struct {
    VarveDriverHost host;
    char *path;
    gpointer self;
} Pool;

static void
pool_free(Pool *pool)
{
    if (pool == NULL)
        return;
    if (pool->self != NULL)
        DRIVER.close(pool->self);
    varve_fd_clear(&pool->host.dirfd);
    g_hash_table_unref(pool->host.settings);
    g_free(pool->path);
    g_free(pool);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Pool, pool_free)

static Pool *
pool_try_open(const char *path, const char *file, const char *size, gboolean fresh, GError **error)
{
    g_autoptr(Pool) pool = g_new0(Pool, 1);
    pool->path = g_strdup(path);
    pool->host.name = "test";
    pool->host.path = pool->path;
    pool->host.settings = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, g_free);
    if (file != NULL)
        g_hash_table_insert(pool->host.settings, (char *)"file", g_strdup(file));
    if (size != NULL)
        g_hash_table_insert(pool->host.settings, (char *)"size", g_strdup(size));
    pool->host.dirfd = varve_fd_make_dir(AT_FDCWD, path, 0700, NULL);
    g_assert_cmpint(pool->host.dirfd, >=, 0);
    pool->self = DRIVER.open(&pool->host, fresh, error);
    return pool->self != NULL ? g_steal_pointer(&pool) : NULL;
}

static Pool *
pool_open(const char *path, const char *file, const char *size, gboolean fresh)
{
    g_autoptr(GError) error = NULL;
    Pool *pool = pool_try_open(path, file, size, fresh, &error);
    g_assert_no_error(error);
    return pool;
}

static void
pool_destroy(Pool *pool)
{
    g_autoptr(GError) error = NULL;
    DRIVER.destroy(pool->self, &error);
    g_assert_no_error(error);
}

/* The btrfs that most tests share: that of an image pool, made once. Skips when it cannot be. */
static const char *
shared_btrfs(void)
{
    static char *mountpoint;
    if (mountpoint == NULL && skip == NULL) {
        g_autofree char *path = g_build_filename(scratch, "shared", NULL);
        g_autofree char *file = g_build_filename(scratch, "shared.img", NULL);
        g_autoptr(GError) error = NULL;
        if (!varve_driver_btrfs.probe(path, NULL, NULL)) {
            g_autoptr(GHashTable) settings = g_hash_table_new(g_str_hash, g_str_equal);
            g_hash_table_insert(settings, (char *)"file", file);
            if (!varve_driver_btrfs.probe(path, settings, &error))
                skip = g_strdup(error->message);
        }
        if (skip == NULL) {
            pool_free(pool_open(path, file, "512M", TRUE));
            mountpoint = g_build_filename(path, "mnt", NULL);
        }
    }
    if (skip != NULL)
        g_test_skip(skip);
    return skip == NULL ? mountpoint : NULL;
}

/* A fresh pool on it; NULL when the test is to be skipped. */
static Pool *
shared_pool(const char *name)
{
    const char *btrfs = shared_btrfs();
    if (btrfs == NULL)
        return NULL;
    g_autofree char *path = g_build_filename(btrfs, name, NULL);
    return pool_open(path, NULL, NULL, TRUE);
}

/* --- snapshots ---------------------------------------------------------------------------------
 */

/* parent 0: none */
static VarveDriverSnapshot
snapshot(guint64 id, VarveKind kind, const guint64 *parent)
{
    return (VarveDriverSnapshot){id, kind, parent, parent != NULL ? 1 : 0};
}

static void
create(Pool *pool, guint64 id, VarveKind kind, const guint64 *parent)
{
    VarveDriverSnapshot s = snapshot(id, kind, parent);
    g_autoptr(GError) error = NULL;
    DRIVER.create(pool->self, &s, &error);
    g_assert_no_error(error);
}

static void
commit(Pool *pool, guint64 id)
{
    g_autoptr(GError) error = NULL;
    DRIVER.commit(pool->self, id, &error);
    g_assert_no_error(error);
    DRIVER.sync(pool->self, id, &error);
    g_assert_no_error(error);
}

static void
remove_id(Pool *pool, guint64 id)
{
    g_autoptr(GError) error = NULL;
    DRIVER.remove(pool->self, id, &error);
    g_assert_no_error(error);
}

/* Mounts it in the scratch folder; returns the place. */
static char *
mount_snapshot(Pool *pool, guint64 id, VarveKind kind, const guint64 *parent)
{
    VarveDriverSnapshot s = snapshot(id, kind, parent);
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveMount) mount_ = DRIVER.mounts(pool->self, &s, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(mount_->type, ==, "btrfs");
    char *target = g_strdup_printf("%s/m-%" G_GUINT64_FORMAT, scratch, id);
    (void)g_mkdir(target, 0755);
    varve_mount_attach(mount_, target, &error);
    g_assert_no_error(error);
    return target;
}

static void
unmount(char *target)
{
    g_autoptr(GError) error = NULL;
    varve_mount_detach(target, &error);
    g_assert_no_error(error);
    g_free(target);
}

static gboolean
collect(guint64 id, gpointer data, GError **error)
{
    g_hash_table_add(data, g_memdup2(&id, sizeof id));
    return TRUE;
}

static GHashTable *
list(Pool *pool)
{
    GHashTable *ids = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
    g_autoptr(GError) error = NULL;
    DRIVER.list(pool->self, collect, ids, &error);
    g_assert_no_error(error);
    return ids;
}

static void
assert_ids(Pool *pool, const guint64 *ids, guint n)
{
    g_autoptr(GHashTable) found = list(pool);
    g_assert_cmpuint(g_hash_table_size(found), ==, n);
    for (guint i = 0; i < n; i++)
        g_assert_true(g_hash_table_contains(found, &ids[i]));
}

static void
assert_usage(Pool *pool, guint64 id, const guint64 *parent, gint64 bytes, gint64 inodes)
{
    VarveDriverSnapshot s = snapshot(id, VARVE_KIND_ACTIVE, parent);
    VarveUsage usage = {-1, -1};
    g_autoptr(GError) error = NULL;
    DRIVER.usage(pool->self, &s, &usage, &error);
    g_assert_no_error(error);
    g_assert_cmpint(usage.bytes, ==, bytes);
    g_assert_cmpint(usage.inodes, ==, inodes);
}

/* Random bytes, which no compression makes less of. */
static void
write_blob(const char *dir, const char *name, off_t offset, gsize size)
{
    g_autofree char *path = g_build_filename(dir, name, NULL);
    g_autofree guint8 *bytes = g_malloc(size);
    for (gsize i = 0; i < size; i++)
        bytes[i] = (guint8)g_random_int();
    varve_autofd fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    g_assert_cmpint(fd, >=, 0);
    g_assert_cmpint(pwrite(fd, bytes, size, offset), ==, (ssize_t)size);
}

/* --- the lifecycle -----------------------------------------------------------------------------
 */

static void
test_lifecycle(void)
{
    g_autoptr(Pool) pool = shared_pool("lifecycle");
    if (pool == NULL)
        return;
    const guint64 base = 1, child = 65, taken[] = {1, 65}; /* one shard holds both */
    create(pool, base, VARVE_KIND_ACTIVE, NULL);
    char *target = mount_snapshot(pool, base, VARVE_KIND_ACTIVE, NULL);
    write_file(target, "hello", "base");
    commit(pool, base);
    g_assert_cmpint(try_write(target), ==, EROFS); /* even where it is still mounted */
    unmount(target);

    create(pool, child, VARVE_KIND_ACTIVE, &base);
    target = mount_snapshot(pool, child, VARVE_KIND_ACTIVE, &base);
    assert_file(target, "hello", "base");
    write_file(target, "hello", "child");
    unmount(target);
    assert_ids(pool, taken, 2);

    /* A view needs nothing on disk, and is mounted beside a writable sibling. */
    create(pool, 3, VARVE_KIND_VIEW, &base);
    assert_ids(pool, taken, 2);
    target = mount_snapshot(pool, 3, VARVE_KIND_VIEW, &base);
    assert_file(target, "hello", "base");
    g_assert_cmpint(try_write(target), ==, EROFS);
    unmount(target);

    remove_id(pool, child);
    remove_id(pool, base);
    assert_ids(pool, NULL, 0);
    pool_destroy(pool);
}

static void
test_reopen(void)
{
    g_autoptr(Pool) pool = shared_pool("reopen");
    if (pool == NULL)
        return;
    g_autoptr(GError) error = NULL;
    create(pool, 1, VARVE_KIND_ACTIVE, NULL);
    commit(pool, 1);
    for (int i = 0; i < 2; i++) { /* the second time it is writable already */
        DRIVER.reopen(pool->self, 1, &error);
        g_assert_no_error(error);
    }
    char *target = mount_snapshot(pool, 1, VARVE_KIND_ACTIVE, NULL);
    g_assert_cmpint(try_write(target), ==, 0);
    unmount(target);
    remove_id(pool, 1);
    pool_destroy(pool);
}

static void
test_empty_view(void)
{
    g_autoptr(Pool) pool = shared_pool("empty-view");
    if (pool == NULL)
        return;
    create(pool, 1, VARVE_KIND_VIEW, NULL);
    char *target = mount_snapshot(pool, 1, VARVE_KIND_VIEW, NULL);
    g_assert_cmpint(try_write(target), ==, EROFS);
    unmount(target);
    remove_id(pool, 1);
    pool_destroy(pool);
}

static void
test_root_attributes(void)
{
    g_autoptr(Pool) pool = shared_pool("root");
    if (pool == NULL)
        return;
    const guint64 base = 1;
    mode_t mask = umask(077);
    create(pool, base, VARVE_KIND_ACTIVE, NULL);
    umask(mask);
    char *target = mount_snapshot(pool, base, VARVE_KIND_ACTIVE, NULL);
    struct stat st;
    g_assert_cmpint(stat(target, &st), ==, 0);
    g_assert_cmpuint(st.st_mode, ==, S_IFDIR | 0755);
    g_assert_cmpuint(st.st_uid | st.st_gid, ==, 0);
    g_assert_cmpint(chown(target, 12, 34) | chmod(target, 01770), ==, 0);
    unmount(target);
    commit(pool, base);

    create(pool, 2, VARVE_KIND_ACTIVE, &base);
    target = mount_snapshot(pool, 2, VARVE_KIND_ACTIVE, &base);
    g_assert_cmpint(stat(target, &st), ==, 0);
    g_assert_cmpuint(st.st_mode, ==, S_IFDIR | 01770);
    g_assert_cmpuint(st.st_uid, ==, 12);
    g_assert_cmpuint(st.st_gid, ==, 34);
    unmount(target);
    remove_id(pool, 2);
    remove_id(pool, base);
    pool_destroy(pool);
}

static void
test_refusals(void)
{
    g_autoptr(Pool) pool = shared_pool("refusals");
    if (pool == NULL)
        return;
    const guint64 missing = 99;
    g_autoptr(GError) taken = NULL, orphan = NULL, no_mount = NULL, no_commit = NULL;
    create(pool, 1, VARVE_KIND_ACTIVE, NULL);
    VarveDriverSnapshot again = snapshot(1, VARVE_KIND_ACTIVE, NULL);
    g_assert_false(DRIVER.create(pool->self, &again, &taken));
    g_assert_error(taken, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS);

    VarveDriverSnapshot fatherless = snapshot(2, VARVE_KIND_ACTIVE, &missing);
    g_assert_false(DRIVER.create(pool->self, &fatherless, &orphan));
    g_assert_error(orphan, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
    const guint64 taken_ids[] = {1};
    assert_ids(pool, taken_ids, 1);

    VarveDriverSnapshot nothing = snapshot(missing, VARVE_KIND_ACTIVE, NULL);
    g_assert_null(DRIVER.mounts(pool->self, &nothing, &no_mount));
    g_assert_error(no_mount, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
    g_assert_false(DRIVER.commit(pool->self, missing, &no_commit));
    g_assert_error(no_commit, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
    remove_id(pool, missing); /* as recovery does */
    remove_id(pool, 1);
    remove_id(pool, 1);
    pool_destroy(pool);
}

/* A pool with snapshots in it cannot be destroyed, and strange names are left alone. */
static void
test_destroy_refused(void)
{
    g_autoptr(Pool) pool = shared_pool("destroy");
    if (pool == NULL)
        return;
    create(pool, 1, VARVE_KIND_ACTIVE, NULL);
    g_autofree char *strange = g_build_filename(pool->path, "subvolumes/1/strange", NULL);
    g_assert_cmpint(g_mkdir(strange, 0755), ==, 0);
    const guint64 ids[] = {1};
    assert_ids(pool, ids, 1);
    g_autoptr(GError) error = NULL;
    g_assert_false(DRIVER.destroy(pool->self, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION);
    assert_ids(pool, ids, 1);
    g_assert_cmpint(g_rmdir(strange), ==, 0);
    remove_id(pool, 1);
    pool_destroy(pool);
}

/* What a mounted snapshot that is removed does to those who use it: nothing on disk stays, and what
 * is open can still be read. */
static void
test_remove_mounted(void)
{
    g_autoptr(Pool) pool = shared_pool("mounted");
    if (pool == NULL)
        return;
    create(pool, 1, VARVE_KIND_ACTIVE, NULL);
    char *target = mount_snapshot(pool, 1, VARVE_KIND_ACTIVE, NULL);
    write_file(target, "hello", "mounted");
    remove_id(pool, 1);
    assert_ids(pool, NULL, 0);
    unmount(target);
    pool_destroy(pool);
}

/* --- nested subvolumes -------------------------------------------------------------------------
 */

static void
make_subvolume(int dirfd, const char *name)
{
    g_autoptr(GError) error = NULL;
    varve_subvolume_create(dirfd, name, &error);
    g_assert_no_error(error);
}

static int
open_dir(int dirfd, const char *name)
{
    int fd = varve_fd_open_dir(dirfd, name, NULL);
    g_assert_cmpint(fd, >=, 0);
    return fd;
}

/* Subvolumes in subvolumes, read-only ones, and one below a path longer than PATH_MAX, in a
 * snapshot that is read-only itself. */
static void
test_nested(void)
{
    g_autoptr(Pool) pool = shared_pool("nested");
    if (pool == NULL)
        return;
    create(pool, 1, VARVE_KIND_ACTIVE, NULL);
    char *target = mount_snapshot(pool, 1, VARVE_KIND_ACTIVE, NULL);
    varve_autofd top = open_dir(AT_FDCWD, target);
    make_subvolume(top, "a");
    varve_autofd a = open_dir(top, "a");
    make_subvolume(a, "b");
    varve_autofd b = open_dir(a, "b");
    make_subvolume(b, "c1");
    make_subvolume(b, "c2");
    g_assert_true(varve_subvolume_set_readonly(b, TRUE, NULL));
    g_assert_true(varve_subvolume_set_readonly(a, TRUE, NULL));

    g_autofree char *name = g_strnfill(250, 'd');
    varve_autofd deep = open_dir(top, ".");
    for (int i = 0; i < 20; i++) {
        g_assert_cmpint(mkdirat(deep, name, 0755), ==, 0);
        int next = open_dir(deep, name);
        varve_fd_clear(&deep);
        deep = next;
    }
    make_subvolume(deep, "bottom");
    varve_fd_clear(&deep);
    varve_fd_clear(&b);
    varve_fd_clear(&a);
    varve_fd_clear(&top);
    unmount(target);

    commit(pool, 1);
    remove_id(pool, 1);
    assert_ids(pool, NULL, 0);
    pool_destroy(pool);
}

/* --- usage -------------------------------------------------------------------------------------
 */

static void
test_usage(void)
{
    g_autoptr(Pool) pool = shared_pool("usage");
    if (pool == NULL)
        return;
    const guint64 base = 1, child = 2, grandchild = 3;
    create(pool, base, VARVE_KIND_ACTIVE, NULL);
    assert_usage(pool, base, NULL, 0, 1);
    char *target = mount_snapshot(pool, base, VARVE_KIND_ACTIVE, NULL);
    write_blob(target, "big", 0, 1024 * 1024);
    write_file(target, "inline", "ten bytes.");
    write_blob(target, "sparse", 1024 * 1024 * 1024, 4096);
    assert_usage(pool, base, NULL, 1024 * 1024 + 10 + 4096, 4); /* mounted, not yet written back */
    unmount(target);
    commit(pool, base);
    assert_usage(pool, base, NULL, 1024 * 1024 + 10 + 4096, 4);

    create(pool, child, VARVE_KIND_ACTIVE, &base);
    assert_usage(pool, child, &base, 0, 0);
    target = mount_snapshot(pool, child, VARVE_KIND_ACTIVE, &base);
    g_autofree char *big = g_build_filename(target, "big", NULL);
    g_autofree char *link = g_build_filename(target, "link", NULL);
    write_blob(target, "big", 512 * 1024, 4096); /* one block of it is new */
    write_blob(target, "new", 0, 64 * 1024);
    g_assert_cmpint(chmod(big, 0600) | symlink("big", link), ==, 0);
    g_autofree char *hard = g_build_filename(target, "hard", NULL);
    g_autofree char *fresh = g_build_filename(target, "new", NULL);
    g_assert_cmpint(linkat(AT_FDCWD, fresh, AT_FDCWD, hard, 0), ==, 0);
    unmount(target);
    /* A symbolic link is inline data: "big". */
    assert_usage(pool, child, &base, 4096 + 64 * 1024 + 3, 2);
    commit(pool, child);

    create(pool, grandchild, VARVE_KIND_ACTIVE, &child);
    assert_usage(pool, grandchild, &child, 0, 0);
    target = mount_snapshot(pool, grandchild, VARVE_KIND_ACTIVE, &child);
    g_autofree char *gone = g_build_filename(target, "new", NULL);
    g_assert_cmpint(g_unlink(gone), ==, 0);
    unmount(target);
    assert_usage(pool, grandchild, &child, 0, 0); /* what is removed takes nothing */
    for (guint64 id = grandchild; id > 0; id--)
        remove_id(pool, id);
    pool_destroy(pool);
}

/* An extent that several items name, cut up by writes into its middle, counts once. */
static void
test_usage_shared(void)
{
    g_autoptr(Pool) pool = shared_pool("usage-shared");
    if (pool == NULL)
        return;
    create(pool, 1, VARVE_KIND_ACTIVE, NULL);
    char *target = mount_snapshot(pool, 1, VARVE_KIND_ACTIVE, NULL);
    write_blob(target, "file", 0, 128 * 1024);
    assert_usage(pool, 1, NULL, 128 * 1024, 2);
    write_blob(target, "file", 64 * 1024, 4096);
    assert_usage(pool, 1, NULL, 128 * 1024 + 4096, 2);
    unmount(target);
    remove_id(pool, 1);
    pool_destroy(pool);
}

/* More items than one search's buffer holds. */
static void
test_usage_many(void)
{
    g_autoptr(Pool) pool = shared_pool("usage-many");
    if (pool == NULL)
        return;
    const guint64 base = 1;
    create(pool, base, VARVE_KIND_ACTIVE, NULL);
    char *target = mount_snapshot(pool, base, VARVE_KIND_ACTIVE, NULL);
    for (int i = 0; i < 3000; i++) {
        g_autofree char *name = g_strdup_printf("file-%d", i);
        write_file(target, name, "12345");
    }
    unmount(target);
    assert_usage(pool, base, NULL, 3000 * 5, 3001);
    commit(pool, base);
    create(pool, 2, VARVE_KIND_ACTIVE, &base);
    target = mount_snapshot(pool, 2, VARVE_KIND_ACTIVE, &base);
    write_file(target, "one", "more");
    unmount(target);
    assert_usage(pool, 2, &base, 4, 1);
    remove_id(pool, 2);
    remove_id(pool, base);
    pool_destroy(pool);
}

/* --- from many threads -------------------------------------------------------------------------
 */

typedef struct {
    Pool *pool;
    guint64 first;
} Worker;

static gpointer
work(gpointer data)
{
    Worker *worker = data;
    const guint64 base = 1;
    for (guint64 id = worker->first; id < worker->first + 20; id++) {
        create(worker->pool, id, VARVE_KIND_ACTIVE, &base);
        commit(worker->pool, id);
        if (id % 2 == 0)
            remove_id(worker->pool, id);
    }
    return NULL;
}

static void
test_threads(void)
{
    g_autoptr(Pool) pool = shared_pool("threads");
    if (pool == NULL)
        return;
    create(pool, 1, VARVE_KIND_ACTIVE, NULL);
    commit(pool, 1);
    Worker workers[8];
    GThread *threads[G_N_ELEMENTS(workers)];
    for (guint i = 0; i < G_N_ELEMENTS(workers); i++) {
        workers[i] = (Worker){pool, 100 + 20 * i};
        threads[i] = g_thread_new("work", work, &workers[i]);
    }
    for (guint i = 0; i < G_N_ELEMENTS(workers); i++)
        g_thread_join(threads[i]);
    g_autoptr(GHashTable) ids = list(pool);
    g_assert_cmpuint(g_hash_table_size(ids), ==, 1 + 8 * 10);
    GHashTableIter iter;
    gpointer id;
    g_hash_table_iter_init(&iter, ids);
    while (g_hash_table_iter_next(&iter, &id, NULL))
        remove_id(pool, *(guint64 *)id);
    pool_destroy(pool);
}

/* --- pools in a file ---------------------------------------------------------------------------
 */

typedef struct {
    char *path, *file, *mountpoint;
} ImagePlace;

static ImagePlace
image_place(const char *name)
{
    ImagePlace place;
    place.path = g_build_filename(scratch, name, NULL);
    place.file = g_strconcat(place.path, ".img", NULL);
    place.mountpoint = g_build_filename(place.path, "mnt", NULL);
    return place;
}

static void
image_place_clear(ImagePlace *place)
{
    g_free(place->path);
    g_free(place->file);
    g_free(place->mountpoint);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(ImagePlace, image_place_clear)

static void
assert_open_fails(const ImagePlace *place, gboolean fresh, VarveErrorCode code, const char *part)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(pool_try_open(place->path, place->file, "200M", fresh, &error));
    g_assert_error(error, VARVE_ERROR, (int)code);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, part));
    g_autoptr(GError) not_mounted = NULL;
    g_assert_false(varve_mount_detach(place->mountpoint, &not_mounted));
}

/* Makes a pool with one snapshot in a file, and leaves it unmounted, as after a shutdown. */
static void
make_image_pool(const ImagePlace *place)
{
    g_autoptr(Pool) pool = pool_open(place->path, place->file, "200M", TRUE);
    create(pool, 7, VARVE_KIND_ACTIVE, NULL);
    char *target = mount_snapshot(pool, 7, VARVE_KIND_ACTIVE, NULL);
    write_file(target, "hello", "image");
    unmount(target);
    commit(pool, 7);
    DRIVER.close(pool->self);
    pool->self = NULL;
    unmount(g_strdup(place->mountpoint));
}

static void
overwrite(const char *file, off_t offset, const char *bytes)
{
    varve_autofd fd = open(file, O_WRONLY | O_CLOEXEC);
    g_assert_cmpint(pwrite(fd, bytes, strlen(bytes), offset), ==, (ssize_t)strlen(bytes));
}

static void
test_image(void)
{
    if (shared_btrfs() == NULL)
        return;
    g_auto(ImagePlace) place = image_place("image");
    make_image_pool(&place);
    struct stat st;
    g_assert_cmpint(stat(place.file, &st), ==, 0);
    g_assert_cmpint(st.st_size, ==, 200 * 1024 * 1024);
    g_assert_cmpint(st.st_blocks * 512, <, 50 * 1024 * 1024); /* sparse */
    g_assert_cmpuint(st.st_mode & 07777, ==, 0600);

    /* Imported again, and once more while it is mounted. */
    for (int i = 0; i < 2; i++) {
        g_autoptr(Pool) pool = pool_open(place.path, place.file, NULL, FALSE);
        char *target = mount_snapshot(pool, 7, VARVE_KIND_ACTIVE, NULL);
        assert_file(target, "hello", "image");
        unmount(target);
    }

    g_autoptr(Pool) pool = pool_open(place.path, place.file, NULL, FALSE);
    remove_id(pool, 7);
    varve_autofd user = open_dir(AT_FDCWD, place.mountpoint);
    g_autoptr(GError) busy = NULL;
    g_assert_false(DRIVER.destroy(pool->self, &busy));
    g_assert_error(busy, VARVE_ERROR, VARVE_ERROR_BUSY);
    g_assert_true(g_file_test(place.file, G_FILE_TEST_EXISTS));
    varve_fd_clear(&user);
    pool_destroy(pool);
    g_assert_false(g_file_test(place.file, G_FILE_TEST_EXISTS));
    g_assert_cmpint(g_rmdir(place.path), ==, 0); /* nothing was left in it */
}

static void
test_image_existing(void)
{
    if (shared_btrfs() == NULL)
        return;
    g_auto(ImagePlace) place = image_place("existing");
    write_file(scratch, "existing.img", "precious");
    assert_open_fails(&place, TRUE, VARVE_ERROR_ALREADY_EXISTS, place.file);
    assert_file(scratch, "existing.img", "precious");
    g_assert_cmpint(g_rmdir(place.path), ==, 0);
}

static void
test_image_missing(void)
{
    if (shared_btrfs() == NULL)
        return;
    g_auto(ImagePlace) place = image_place("missing");
    make_image_pool(&place);
    g_assert_cmpint(g_unlink(place.file), ==, 0);
    assert_open_fails(&place, FALSE, VARVE_ERROR_NOT_FOUND, place.file);
    g_assert_false(g_file_test(place.file, G_FILE_TEST_EXISTS));
}

static void
test_image_foreign(void)
{
    if (shared_btrfs() == NULL)
        return;
    g_auto(ImagePlace) place = image_place("foreign");
    g_auto(ImagePlace) other = image_place("other");
    make_image_pool(&place);
    make_image_pool(&other);
    g_assert_cmpint(g_rename(other.file, place.file), ==, 0);
    assert_open_fails(&place, FALSE, VARVE_ERROR_CORRUPT, "another file system");

    write_file(scratch, "foreign.img", "not a file system");
    assert_open_fails(&place, FALSE, VARVE_ERROR_CORRUPT, "does not hold a btrfs");
    assert_file(scratch, "foreign.img", "not a file system");
}

static void
test_image_damaged(void)
{
    if (shared_btrfs() == NULL)
        return;
    g_auto(ImagePlace) magic = image_place("damaged-magic");
    make_image_pool(&magic);
    overwrite(magic.file, 0x10040, "_XXXXX_X");
    assert_open_fails(&magic, FALSE, VARVE_ERROR_CORRUPT, "does not hold a btrfs");

    g_auto(ImagePlace) sum = image_place("damaged-sum");
    make_image_pool(&sum);
    overwrite(sum.file, 0x10200, "garbage");
    assert_open_fails(&sum, FALSE, VARVE_ERROR_CORRUPT, "checksum");

    /* A sound superblock, and nothing behind it. */
    g_auto(ImagePlace) trees = image_place("damaged-trees");
    make_image_pool(&trees);
    g_assert_cmpint(truncate(trees.file, 0x11000), ==, 0);
    g_assert_cmpint(truncate(trees.file, 200 * 1024 * 1024), ==, 0);
    assert_open_fails(&trees, FALSE, VARVE_ERROR_CORRUPT, "mounting btrfs");
}

static void
test_image_mkfs_fails(void)
{
    if (shared_btrfs() == NULL)
        return;
    g_auto(ImagePlace) place = image_place("tiny");
    g_autoptr(GError) error = NULL;
    g_assert_null(pool_try_open(place.path, place.file, "1M", TRUE, &error));
    g_assert_nonnull(error);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, "minimum size")); /* mkfs.btrfs's own words */
    g_assert_false(g_file_test(place.file, G_FILE_TEST_EXISTS));
    g_assert_cmpint(g_rmdir(place.path), ==, 0);
}

static gpointer
open_and_close(gpointer data)
{
    const ImagePlace *place = data;
    g_autoptr(Pool) pool = pool_open(place->path, place->file, NULL, FALSE);
    const guint64 ids[] = {7};
    assert_ids(pool, ids, 1);
    return NULL;
}

static guint
count_lines(const char *file, const char *part)
{
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(file, &text, NULL, NULL));
    guint n = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at++)
        n++;
    return n;
}

static void
test_image_concurrent(void)
{
    if (shared_btrfs() == NULL)
        return;
    g_auto(ImagePlace) place = image_place("concurrent");
    make_image_pool(&place);
    GThread *threads[8];
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        threads[i] = g_thread_new("open", open_and_close, &place);
    for (guint i = 0; i < G_N_ELEMENTS(threads); i++)
        g_thread_join(threads[i]);
    g_assert_cmpuint(count_lines("/proc/self/mountinfo", place.mountpoint), ==, 1);
}

/* A process that is killed anywhere on its way leaves nothing that the next one stumbles over. */
static void
test_image_killed(void)
{
    if (shared_btrfs() == NULL)
        return;
    g_auto(ImagePlace) place = image_place("killed");
    make_image_pool(&place);
    guint interrupted = 0;
    for (gulong delay = 0; delay < 20; delay++) {
        pid_t child = fork();
        g_assert_cmpint(child, >=, 0);
        if (child == 0) {
            open_and_close(&place);
            _exit(0);
        }
        g_usleep(delay * 300);
        g_assert_cmpint(kill(child, SIGKILL), ==, 0);
        int status;
        g_assert_cmpint(waitpid(child, &status, 0), ==, child);
        interrupted += WIFSIGNALED(status);

        open_and_close(&place);
        unmount(g_strdup(place.mountpoint));
        g_assert_cmpuint(count_lines("/proc/self/mountinfo", place.mountpoint), ==, 0);
    }
    g_test_message("%u of 20 were interrupted", interrupted);
    g_assert_cmpuint(interrupted, >, 0);
}

/* --- a full disk -------------------------------------------------------------------------------
 */

static void
fill(const char *dir)
{
    g_autofree char *path = g_build_filename(dir, "filler", NULL);
    varve_autofd fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    g_autofree guint8 *block = g_malloc0(1024 * 1024);
    while (write(fd, block, 1024 * 1024) > 0)
        continue;
    g_assert_cmpint(errno, ==, ENOSPC);
}

/* Until metadata is used up as well: small files are kept in it. */
static void
fill_metadata(const char *dir)
{
    g_autofree char *content = g_strnfill(2000, 'x');
    for (int i = 0;; i++) {
        g_autofree char *path = g_strdup_printf("%s/%d", dir, i);
        int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        gboolean ok = fd >= 0 && write(fd, content, 2000) == 2000;
        int errnum = ok ? 0 : errno;
        varve_fd_clear(&fd);
        if (!ok) {
            g_assert_cmpint(errnum, ==, ENOSPC);
            return;
        }
        if (i % 1000 == 999)
            sync();
    }
}

static void
test_full(void)
{
    if (shared_btrfs() == NULL)
        return;
    g_auto(ImagePlace) place = image_place("full");
    g_autoptr(Pool) pool = pool_open(place.path, place.file, "120M", TRUE);
    const guint64 base = 1;
    create(pool, base, VARVE_KIND_ACTIVE, NULL);
    commit(pool, base);
    create(pool, 2, VARVE_KIND_ACTIVE, &base);
    char *target = mount_snapshot(pool, 2, VARVE_KIND_ACTIVE, &base);
    fill(target);
    fill_metadata(target);

    /* btrfs keeps some room for itself; it may take some snapshots until it refuses one. */
    g_autoptr(GError) error = NULL;
    guint64 id = 3;
    for (VarveDriverSnapshot s; error == NULL && id < 20000; id++) {
        s = snapshot(id, VARVE_KIND_ACTIVE, &base);
        DRIVER.create(pool->self, &s, &error);
    }
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
    g_test_message("snapshot %" G_GUINT64_FORMAT ": %s", id - 1, error->message);
    g_autoptr(GHashTable) ids = list(pool);
    g_assert_cmpuint(g_hash_table_size(ids), ==, id - 2); /* nothing of the refused one */
    unmount(target);

    /* Removing works on a full disk, and makes room. */
    for (guint64 old = 2; old < id; old++)
        remove_id(pool, old);
    assert_ids(pool, &base, 1);
    remove_id(pool, base);
    pool_destroy(pool);
}

/* --- probe -------------------------------------------------------------------------------------
 */

static void
test_probe(void)
{
    const char *btrfs = shared_btrfs();
    if (btrfs == NULL)
        return;
    g_autofree char *below = g_build_filename(btrfs, "not/yet/there", NULL);
    g_autoptr(GError) error = NULL, elsewhere = NULL, size_alone = NULL;
    DRIVER.probe(below, NULL, &error);
    g_assert_no_error(error);
    g_assert_false(DRIVER.probe(scratch, NULL, &elsewhere));
    g_assert_error(elsewhere, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION);
    g_assert_nonnull(strstr(elsewhere->message, "file="));

    g_autoptr(GHashTable) settings = g_hash_table_new(g_str_hash, g_str_equal);
    g_hash_table_insert(settings, (char *)"size", (char *)"1G");
    g_assert_false(DRIVER.probe(below, settings, &size_alone));
    g_assert_error(size_alone, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
    g_hash_table_insert(settings, (char *)"file", (char *)"/some.img");
    DRIVER.probe(scratch, settings, &error);
    g_assert_no_error(error);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    skip = scratch_init();
    g_test_add_func("/btrfs/probe", test_probe);
    g_test_add_func("/btrfs/lifecycle", test_lifecycle);
    g_test_add_func("/btrfs/reopen", test_reopen);
    g_test_add_func("/btrfs/empty-view", test_empty_view);
    g_test_add_func("/btrfs/root-attributes", test_root_attributes);
    g_test_add_func("/btrfs/refusals", test_refusals);
    g_test_add_func("/btrfs/destroy-refused", test_destroy_refused);
    g_test_add_func("/btrfs/remove-mounted", test_remove_mounted);
    g_test_add_func("/btrfs/nested", test_nested);
    g_test_add_func("/btrfs/usage", test_usage);
    g_test_add_func("/btrfs/usage-shared", test_usage_shared);
    g_test_add_func("/btrfs/usage-many", test_usage_many);
    g_test_add_func("/btrfs/threads", test_threads);
    g_test_add_func("/btrfs/image", test_image);
    g_test_add_func("/btrfs/image-existing", test_image_existing);
    g_test_add_func("/btrfs/image-missing", test_image_missing);
    g_test_add_func("/btrfs/image-foreign", test_image_foreign);
    g_test_add_func("/btrfs/image-damaged", test_image_damaged);
    g_test_add_func("/btrfs/image-mkfs-fails", test_image_mkfs_fails);
    g_test_add_func("/btrfs/image-concurrent", test_image_concurrent);
    g_test_add_func("/btrfs/image-killed", test_image_killed);
    g_test_add_func("/btrfs/full", test_full);
    int result = g_test_run();
    scratch_clear();
    return result;
}
