/* SPDX-License-Identifier: Apache-2.0 */
#include "scratch.h"
#include <glib/gstdio.h>
#include <mntent.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

/* The places where zpools of other tests are mounted: they are called varve-SOMETHING. */
static GPtrArray *
mounts_of_others(void)
{
    GPtrArray *places = g_ptr_array_new_with_free_func(g_free);
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    g_assert_nonnull(mounts);
    for (struct mntent *entry; (entry = getmntent(mounts)) != NULL;)
        if (g_str_equal(entry->mnt_type, "zfs") && g_str_has_prefix(entry->mnt_fsname, "varve-"))
            g_ptr_array_add(places, g_strdup(entry->mnt_dir));
    endmntent(mounts);
    return places;
}

/* What was mounted when the namespace was made is mounted in it, too: the zpool of a test beside
 * this one could not be exported or destroyed before this one ends. */
static void
let_go_of_others(void)
{
    g_autoptr(GPtrArray) places = mounts_of_others();
    for (guint i = places->len; i-- > 0;)
        (void)umount2(places->pdata[i], MNT_DETACH | UMOUNT_NOFOLLOW);
}

void
scratch_init(void)
{
    if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0)
        return;
    g_assert_no_errno(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    let_go_of_others();
}

gboolean
scratch_need_root(void)
{
    if (geteuid() == 0)
        return TRUE;
    g_test_skip("needs root");
    return FALSE;
}

static gboolean
run(const char *const *argv)
{
    g_autofree char *text = NULL, *command = g_strjoinv(" ", (char **)argv);
    g_autoptr(GError) error = NULL;
    int status;
    if (g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDOUT_TO_DEV_NULL,
                     NULL, NULL, NULL, &text, &status, &error) &&
        g_spawn_check_wait_status(status, &error))
        return TRUE;
    g_autofree char *reason = g_strdup_printf("%s: %s %s", command, error->message, text);
    g_test_skip(reason);
    return FALSE;
}

/* The image loses its name at once and lives as long as its loop device, which mount(8) has freed
 * together with the mount. */
static gboolean
mount_image(const char *type, const char *target, guint64 size)
{
    g_autofree char *image = g_strdup(g_access("/dev/shm", W_OK) == 0 ? "/dev/shm/varve-test-XXXXXX"
                                                                      : "/tmp/varve-test-XXXXXX");
    varve_autofd fd = g_mkstemp(image);
    g_assert_no_errno(fd);
    g_assert_no_errno(ftruncate(fd, (off_t)size));

    g_autofree char *mkfs = g_strconcat("mkfs.", type, NULL);
    const char *blocks = g_str_equal(type, "xfs") ? "size=4096" : "4096";
    const char *option = g_str_equal(type, "btrfs") ? "-s" : "-b";
    const char *const make[] = {mkfs, "-q", option, blocks, image, NULL};
    const char *const mount[] = {"mount", "-t", type, "-o", "loop", image, target, NULL};
    gboolean ok = run(make) && run(mount);
    g_assert_no_errno(g_unlink(image));
    return ok;
}

static gboolean
mount_tmpfs(const char *target, guint64 size)
{
    g_autofree char *options = g_strdup_printf("size=%" G_GUINT64_FORMAT, size);
    g_assert_no_errno(mount("tmpfs", target, "tmpfs", 0, options));
    return TRUE;
}

char *
scratch_run(const char *command)
{
    g_autoptr(GError) error = NULL;
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    char *output = NULL;
    g_autofree char *complaint = NULL;
    int status;
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_DEFAULT, NULL, NULL, &output, &complaint,
                 &status, &error);
    g_assert_no_error(error);
    if (!g_spawn_check_wait_status(status, &error))
        g_error("%s: %s %s", command, error->message, complaint);
    return g_strchomp(output);
}

/* Where the kernel finds it: it opens the file in the mount namespace of the first process, not in
 * ours. */
static char *
zpool_file(const Scratch *scratch)
{
    return g_strconcat(g_access("/dev/shm", W_OK) == 0 ? "/dev/shm/" : "/tmp/", scratch->zpool,
                       NULL);
}

static gboolean
make_zpool(Scratch *scratch, guint64 size)
{
    if (g_access("/dev/zfs", R_OK | W_OK) < 0) {
        g_test_skip("needs the kernel's zfs module: there is no /dev/zfs");
        return FALSE;
    }
    scratch->zpool = g_path_get_basename(scratch->path);
    g_autofree char *file = zpool_file(scratch);
    g_autofree char *command =
        g_strdup_printf("truncate -s %" G_GUINT64_FORMAT
                        " %s && zpool create -o cachefile=none -O mountpoint=none %s %s",
                        size, file, scratch->zpool, file);
    g_free(scratch_run(command));
    return mount_tmpfs(scratch->path, size);
}

static void
destroy_zpool(Scratch *scratch)
{
    g_autofree char *file = zpool_file(scratch);
    g_autofree char *command = g_strconcat("zpool destroy ", scratch->zpool, NULL);
    g_free(scratch_run(command));
    g_assert_no_errno(g_unlink(file));
    g_clear_pointer(&scratch->zpool, g_free);
}

static gboolean
mount_type(const char *type, const char *target, guint64 size)
{
    if (!scratch_need_root())
        return FALSE;
    return g_str_equal(type, "tmpfs") ? mount_tmpfs(target, size) : mount_image(type, target, size);
}

Scratch *
scratch_new(const char *type, guint64 size)
{
    g_autoptr(Scratch) scratch = g_new0(Scratch, 1);
    scratch->fd = -1;
    scratch->path = g_dir_make_tmp("varve-test-XXXXXX", NULL);
    g_assert_nonnull(scratch->path);
    gboolean zfs = g_strcmp0(type, "zfs") == 0;
    if (zfs ? !make_zpool(scratch, size) : type != NULL && !mount_type(type, scratch->path, size))
        return NULL;
    scratch->mounted = type != NULL;

    /* What mkfs makes would be in the way of comparisons. */
    g_autofree char *lost = g_build_filename(scratch->path, "lost+found", NULL);
    (void)g_rmdir(lost);
    scratch->fd = varve_fd_open_dir(AT_FDCWD, scratch->path, NULL);
    g_assert_no_errno(scratch->fd);
    return g_steal_pointer(&scratch);
}

void
scratch_free(Scratch *scratch)
{
    if (scratch == NULL)
        return;
    varve_fd_clear(&scratch->fd);
    if (scratch->mounted)
        g_assert_no_errno(umount2(scratch->path, 0));
    if (scratch->zpool != NULL)
        destroy_zpool(scratch);
    g_assert_no_errno(g_rmdir(scratch->path));
    g_free(scratch->path);
    g_free(scratch);
}
