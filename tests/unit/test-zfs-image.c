/* SPDX-License-Identifier: Apache-2.0 */
#include "driver-pool.h"
#include "driver/zfs/label.h"
#include "driver/zfs/zfs.h"
#include <glib/gstdio.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * A zpool of the pool's own in a sparse file (row D5), and what keeps a pool of ZFS from being
 * opened at all.
 */

typedef struct {
    Scratch *scratch;
    VarveDriverHost host;
    char *file;
    char *zpool;
    gpointer self;
} Image;

static const VarveDriver *const driver = &varve_driver_zfs;

static void
assert_tells(const GError *error, VarveErrorCode code, const char *text)
{
    g_assert_error(error, VARVE_ERROR, (int)code);
    if (strstr(error->message, text) == NULL)
        g_error("'%s' is not in: %s", text, error->message);
}

/* Runs a command in which FILE, DIR and ZPOOL stand for the image's. */
static void
run(const Image *image, const char *command)
{
    g_autoptr(GString) text = g_string_new(command);
    g_string_replace(text, "FILE", image->file, 0);
    g_string_replace(text, "DIR", image->scratch->path, 0);
    g_string_replace(text, "ZPOOL", image->zpool, 0);
    g_free(scratch_run(text->str));
}

static gboolean
has_zfs(void)
{
    if (!scratch_need_root())
        return FALSE;
    if (g_access("/dev/zfs", R_OK | W_OK) == 0)
        return TRUE;
    g_test_skip("needs the kernel's zfs module: there is no /dev/zfs");
    return FALSE;
}

/* A place for one; nothing is made yet. */
static Image *
image_new(void)
{
    static guint count;
    if (!has_zfs())
        return NULL;
    Image *image = g_new0(Image, 1);
    image->scratch = scratch_new(NULL, 0);
    image->file = g_build_filename(image->scratch->path, "image", NULL);
    image->zpool = g_strdup_printf("varve-test-%d-%u", getpid(), count++);
    image->host.name = "test";
    image->host.path = g_build_filename(image->scratch->path, "pool", NULL);
    image->host.dirfd = varve_fd_make_dir(image->scratch->fd, "pool", 0700, NULL);
    image->host.settings = g_hash_table_new(g_str_hash, g_str_equal);
    g_hash_table_insert(image->host.settings, (char *)"file", image->file);
    g_hash_table_insert(image->host.settings, (char *)"size", (char *)"128M");
    g_hash_table_insert(image->host.settings, (char *)"zpool", image->zpool);
    return image;
}

static void
image_open(Image *image, gboolean fresh)
{
    g_autoptr(GError) error = NULL;
    g_assert_true(driver->probe(image->host.path, image->host.settings, &error));
    image->self = driver->open(&image->host, fresh, &error);
    g_assert_no_error(error);
}

static void
image_close(Image *image)
{
    driver->close(image->self);
    image->self = NULL;
}

static void
assert_open_fails(Image *image, gboolean fresh, VarveErrorCode code, const char *text)
{
    g_autoptr(GError) error = NULL;
    g_assert_null(driver->open(&image->host, fresh, &error));
    assert_tells(error, code, text);
}

static void
assert_imported(const char *zpool, gboolean imported)
{
    g_autofree char *path = g_build_filename("/proc/spl/kstat/zfs", zpool, NULL);
    g_assert_cmpint(g_file_test(path, G_FILE_TEST_EXISTS), ==, imported);
}

/* Takes the pool away, of which nothing may be left, if there is one. */
static void
image_free(Image *image)
{
    g_autoptr(GError) error = NULL;
    if (image->self != NULL) {
        driver->destroy(image->self, &error);
        g_assert_no_error(error);
        driver->close(image->self);
    }
    assert_imported(image->zpool, FALSE);
    g_assert_false(g_file_test(image->file, G_FILE_TEST_EXISTS));
    varve_fd_clear(&image->host.dirfd);
    g_assert_no_errno(g_rmdir(image->host.path));
    scratch_free(image->scratch);
    g_hash_table_unref(image->host.settings);
    g_free((char *)image->host.path);
    g_free(image->file);
    g_free(image->zpool);
    g_free(image);
}

static void
create(Image *image, const VarveDriverSnapshot *of)
{
    g_autoptr(GError) error = NULL;
    driver->create(image->self, of, &error);
    g_assert_no_error(error);
}

static gboolean
keep_id(guint64 id, gpointer data, GError **error)
{
    *(guint64 *)data = id;
    return TRUE;
}

/* The only id that is listed, or 0. */
static guint64
listed(Image *image)
{
    guint64 id = 0;
    g_autoptr(GError) error = NULL;
    driver->list(image->self, keep_id, &id, &error);
    g_assert_no_error(error);
    return id;
}

static void
discard(Image *image, guint64 id)
{
    g_autoptr(GError) error = NULL;
    driver->remove(image->self, id, &error);
    g_assert_no_error(error);
}

/* --- life ------------------------------------------------------------------------------------- */

static void
test_life(void)
{
    struct stat st;
    Image *image = image_new();
    if (image == NULL)
        return;
    image_open(image, TRUE);
    g_assert_no_errno(stat(image->file, &st));
    g_assert_cmpint(st.st_size, ==, 128 * 1024 * 1024);
    g_assert_cmpint(st.st_mode & 07777, ==, 0600);
    g_assert_cmpint(st.st_blocks * 512, <, 32 * 1024 * 1024);
    create(image, snapshot(ACTIVE, 5));
    image_close(image);
    assert_imported(image->zpool, TRUE); /* whoever uses it can go on */
    image_open(image, FALSE);
    g_assert_cmpint(listed(image), ==, 5);
    image_close(image);

    run(image, "zpool export ZPOOL");
    image_open(image, FALSE);
    g_assert_cmpint(listed(image), ==, 5);
    run(image, "test \"$(zpool get -H -o value cachefile ZPOOL)\" = none");
    g_autoptr(GError) busy = NULL;
    g_assert_false(driver->destroy(image->self, &busy));
    assert_tells(busy, VARVE_ERROR_FAILED_PRECONDITION, "/runtime/5");
    discard(image, 5);
    image_free(image);
}

static void
test_name(void)
{
    Image *image = image_new();
    if (image == NULL)
        return;
    g_hash_table_remove(image->host.settings, "zpool");
    image_open(image, TRUE);
    assert_imported("varve-test", TRUE);
    image_close(image);
    /* Found by any other name, and when it is imported from another path. */
    run(image, "zpool export varve-test && mv FILE FILE.moved && "
               "zpool import -N -o cachefile=none -d FILE.moved varve-test ZPOOL && "
               "mv FILE.moved FILE");
    assert_open_fails(image, FALSE, VARVE_ERROR_FAILED_PRECONDITION, "another file");
    run(image, "zpool export ZPOOL && "
               "zpool import -N -o cachefile=none -d FILE varve-test ZPOOL || "
               "zpool import -N -o cachefile=none -d FILE ZPOOL");
    image_open(image, FALSE);
    assert_imported("varve-test", FALSE);
    create(image, snapshot(ACTIVE, 5));
    discard(image, 5);
    image_free(image);
}

/* Row D5: 70% of the file system. */
static void
test_size(void)
{
    struct stat st;
    struct statvfs fs;
    Image *image = image_new();
    if (image == NULL)
        return;
    g_hash_table_remove(image->host.settings, "size");
    image_open(image, TRUE);
    g_assert_no_errno(stat(image->file, &st));
    g_assert_no_errno(statvfs(image->scratch->path, &fs));
    guint64 wanted = (guint64)fs.f_blocks / 10 * 7 * fs.f_frsize;
    g_assert_cmpint(st.st_size, ==, wanted - wanted % 4096);
    image_free(image);
}

#define OPENERS 4

/* As several commands at once do after a boot. */
static void
test_opened_at_once(void)
{
    pid_t children[OPENERS];
    Image *image = image_new();
    if (image == NULL)
        return;
    image_open(image, TRUE);
    create(image, snapshot(ACTIVE, 5));
    image_close(image);
    run(image, "zpool export ZPOOL");
    for (guint i = 0; i < OPENERS; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            gpointer self = driver->open(&image->host, FALSE, NULL);
            guint64 id = 0;
            _exit(self != NULL && driver->list(self, keep_id, &id, NULL) && id == 5 ? 0 : 1);
        }
    }
    for (guint i = 0; i < OPENERS; i++) {
        int status;
        g_assert_cmpint(waitpid(children[i], &status, 0), ==, children[i]);
        g_assert_cmpint(status, ==, 0);
    }
    image_open(image, FALSE);
    discard(image, 5);
    image_free(image);
}

static void
test_foreign_dataset(void)
{
    Image *image = image_new();
    if (image == NULL)
        return;
    image_open(image, TRUE);
    run(image, "zfs create ZPOOL/theirs");
    g_autoptr(GError) error = NULL;
    g_assert_false(driver->destroy(image->self, &error));
    assert_tells(error, VARVE_ERROR_FAILED_PRECONDITION, "/theirs");
    assert_imported(image->zpool, TRUE);
    create(image, snapshot(ACTIVE, 5));
    discard(image, 5);
    run(image, "zfs destroy ZPOOL/theirs");
    image_free(image);
}

/* --- what is taken ---------------------------------------------------------------------------- */

static void
test_taken(void)
{
    Image *image = image_new();
    if (image == NULL)
        return;
    g_assert_true(g_file_set_contents(image->file, "precious", -1, NULL));
    assert_open_fails(image, TRUE, VARVE_ERROR_ALREADY_EXISTS, "left alone");
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(image->file, &text, NULL, NULL));
    g_assert_cmpstr(text, ==, "precious");
    g_assert_no_errno(g_unlink(image->file));

    run(image, "truncate -s 128M FILE.other && zpool create -O mountpoint=none -o cachefile=none "
               "ZPOOL FILE.other");
    assert_open_fails(image, TRUE, VARVE_ERROR_ALREADY_EXISTS, "zpool=NAME");
    g_assert_false(g_file_test(image->file, G_FILE_TEST_EXISTS));
    run(image, "zpool export ZPOOL");
    image_open(image, TRUE);
    image_close(image);
    run(image, "zpool export ZPOOL && zpool import -N -o cachefile=none -d FILE.other ZPOOL");
    assert_open_fails(image, FALSE, VARVE_ERROR_ALREADY_EXISTS, "by another name");
    run(image, "zpool destroy ZPOOL && rm FILE.other");
    image_open(image, FALSE);
    image_free(image);
}

/* --- what is not ours, or damaged ------------------------------------------------------------- */

/* A pool that is not imported. */
static Image *
image_new_exported(void)
{
    Image *image = image_new();
    if (image == NULL)
        return NULL;
    image_open(image, TRUE);
    image_close(image);
    run(image, "zpool export ZPOOL && cp --sparse=always FILE FILE.kept");
    return image;
}

static void
image_free_exported(Image *image)
{
    run(image, "mv FILE.kept FILE");
    image_open(image, FALSE);
    image_free(image);
}

static const struct {
    const char *command; /* what is done to the file */
    VarveErrorCode code;
    const char *text;
} damages[] = {
    {"rm FILE", VARVE_ERROR_NOT_FOUND, "is missing"},
    {"truncate -s 0 FILE", VARVE_ERROR_CORRUPT, "damaged"},
    {"head -c 5M /dev/urandom >FILE", VARVE_ERROR_CORRUPT, "does not hold a zpool"},
    {"mkfs.ext4 -q -F FILE && dd if=/dev/zero of=FILE bs=512k count=1 seek=255 conv=notrunc",
     VARVE_ERROR_CORRUPT, "does not hold a zpool"},
    /* All uberblocks and labels. */
    {"dd if=/dev/zero of=FILE bs=512k count=1 conv=notrunc && "
     "dd if=/dev/zero of=FILE bs=512k count=1 seek=255 conv=notrunc",
     VARVE_ERROR_CORRUPT, "left alone"},
    /* All but the labels. */
    {"yes junk | dd of=FILE bs=1M count=122 seek=4 conv=notrunc iflag=fullblock",
     VARVE_ERROR_CORRUPT, "cannot be imported"},
    {"truncate -s 64M FILE", VARVE_ERROR_CORRUPT, "cannot be imported"},
    {"rm FILE && truncate -s 128M FILE && zpool create -O mountpoint=none -o cachefile=none "
     "ZPOOL FILE && zpool export ZPOOL",
     VARVE_ERROR_CORRUPT, "another zpool"},
    {"zpool import -N -o cachefile=none -d FILE ZPOOL && zpool destroy ZPOOL",
     VARVE_ERROR_FAILED_PRECONDITION, "import -D"},
};

/* It is refused, and left as it is to the byte. */
static void
test_damage(void)
{
    Image *image = image_new_exported();
    if (image == NULL)
        return;
    for (gsize i = 0; i < G_N_ELEMENTS(damages); i++) {
        run(image, "cp --sparse=always FILE.kept FILE");
        run(image, damages[i].command);
        g_test_message("%s", damages[i].command);
        run(image, "! test -e FILE || cp --sparse=always FILE FILE.before");
        assert_open_fails(image, FALSE, damages[i].code, damages[i].text);
        run(image, "if test -e FILE.before; then cmp FILE FILE.before; else ! test -e FILE; fi");
        run(image, "rm -f FILE.before");
        assert_imported(image->zpool, FALSE);
    }
    image_free_exported(image);
}

/* Not exported, as after a power cut: it is imported by the host that had it, and by no other. */
static void
test_not_exported(void)
{
    Image *image = image_new();
    if (image == NULL)
        return;
    g_autofree char *hostid = scratch_run("cat /sys/module/spl/parameters/spl_hostid");
    g_autofree char *restore =
        g_strdup_printf("echo %s >/sys/module/spl/parameters/spl_hostid", hostid);
    run(image, "echo 4711 >/sys/module/spl/parameters/spl_hostid");
    image_open(image, TRUE);
    create(image, snapshot(ACTIVE, 5));
    image_close(image);
    run(image, "zpool sync ZPOOL && cp --sparse=always FILE FILE.kept && zpool export ZPOOL && "
               "mv FILE.kept FILE");
    run(image, "echo 4712 >/sys/module/spl/parameters/spl_hostid");
    assert_open_fails(image, FALSE, VARVE_ERROR_FAILED_PRECONDITION, "zpool import -f");
    run(image, "echo 4711 >/sys/module/spl/parameters/spl_hostid");
    image_open(image, FALSE);
    g_assert_cmpint(listed(image), ==, 5);
    discard(image, 5);
    image_free(image);
    g_free(scratch_run(restore));
}

/* --- full ------------------------------------------------------------------------------------- */

/* Writes until there is no space, and returns the errno of that. */
static int
fill(Image *image, const VarveDriverSnapshot *of)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *target = g_build_filename(image->scratch->path, "mnt", NULL);
    g_autofree char *block = g_malloc0(1 << 20);
    memset(block, 'x', 1 << 20);
    g_autoptr(VarveMount) mount = driver->mounts(image->self, of, NULL);
    g_assert_no_errno(g_mkdir(target, 0755));
    varve_mount_attach(mount, target, &error);
    g_assert_no_error(error);
    g_autofree char *path = g_build_filename(target, "large", NULL);
    varve_autofd fd = open(path, O_WRONLY | O_CREAT | O_DSYNC, 0644);
    int errnum = 0;
    while (errnum == 0)
        errnum = write(fd, block, 1 << 20) < 0 ? errno : 0;
    varve_fd_clear(&fd);
    varve_mount_detach(target, &error);
    g_assert_no_error(error);
    g_assert_no_errno(g_rmdir(target));
    return errnum;
}

/* What is full can be emptied. */
static void
test_full(void)
{
    Image *image = image_new();
    if (image == NULL)
        return;
    g_hash_table_insert(image->host.settings, (char *)"size", (char *)"64M");
    image_open(image, TRUE);
    create(image, snapshot(ACTIVE, 1));
    create(image, snapshot(ACTIVE, 2));
    g_assert_cmpint(fill(image, snapshot(ACTIVE, 1)), ==, ENOSPC);
    g_autoptr(GError) error = NULL, full = NULL;
    if (driver->create(image->self, snapshot(ACTIVE, 3), &full)) /* there is some reserve */
        discard(image, 3);
    else
        g_assert_error(full, VARVE_ERROR, VARVE_ERROR_NO_SPACE);
    discard(image, 1);
    driver->commit(image->self, 2, &error);
    g_assert_no_error(error);
    create(image, snapshot(ACTIVE, 3, 2));
    discard(image, 3);
    discard(image, 2);
    image_free(image);
}

/* --- settings, the module --------------------------------------------------------------------- */

static const struct {
    const char *settings[5];
    VarveErrorCode code;
    const char *text;
} refusals[] = {
    {{"dataset", "a/b", "file", "/f"}, VARVE_ERROR_INVALID_ARGUMENT, "exclude each other"},
    {{"dataset", "a/b", "size", "1G"}, VARVE_ERROR_INVALID_ARGUMENT, "'size'"},
    {{"zpool", "a"}, VARVE_ERROR_INVALID_ARGUMENT, "'zpool'"},
    {{"dataset", "/a/b"}, VARVE_ERROR_INVALID_ARGUMENT, "not the name of a dataset"},
    {{"dataset", "a//b"}, VARVE_ERROR_INVALID_ARGUMENT, "not the name of a dataset"},
    {{"dataset", "a/b/"}, VARVE_ERROR_INVALID_ARGUMENT, "not the name of a dataset"},
    {{"dataset", "a/../b"}, VARVE_ERROR_INVALID_ARGUMENT, "not the name of a dataset"},
    {{"dataset", "a/b@c"}, VARVE_ERROR_INVALID_ARGUMENT, "not the name of a dataset"},
    {{"dataset", "a/b c"}, VARVE_ERROR_INVALID_ARGUMENT, "not the name of a dataset"},
    {{"dataset", "-a/b"}, VARVE_ERROR_INVALID_ARGUMENT, "not the name of a dataset"},
};

static void
test_settings(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(refusals); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GHashTable) settings = g_hash_table_new(g_str_hash, g_str_equal);
        for (const char *const *name = refusals[i].settings; *name != NULL; name += 2)
            g_hash_table_insert(settings, (char *)name[0], (char *)name[1]);
        g_assert_false(driver->probe("/", settings, &error));
        assert_tells(error, refusals[i].code, refusals[i].text);
    }
    /* As long as it may be, with the longest names beneath it; and a byte longer. */
    g_autofree char *name = g_strnfill(198, 'a');
    g_autoptr(GError) error = NULL;
    name[1] = '/';
    VarveZfs zfs = {.base = name};
    VarveZfsName active = varve_zfs_active(&zfs, G_MAXUINT64);
    g_assert_cmpint(strlen(varve_zfs_capture(&active, G_MAXUINT64).text), <=, 255);
    g_assert_true(g_str_has_suffix(varve_zfs_capture(&active, 7).text, "@capture-7"));
    g_assert_false(varve_zfs_check_base(name, &error));
    assert_tells(error, VARVE_ERROR_INVALID_ARGUMENT, "too long");
    name[197] = '\0';
    g_assert_true(varve_zfs_check_base(name, NULL));
}

static void
test_ids(void)
{
    static const char *const wrong[] = {"",   "01", "+1",  "-1",    "1x",
                                        " 1", "1 ", "0x1", "empty", "99999999999999999999999"};
    guint64 id;
    for (gsize i = 0; i < G_N_ELEMENTS(wrong); i++)
        g_assert_false(varve_zfs_parse_id(wrong[i], &id));
    g_assert_true(varve_zfs_parse_id("18446744073709551615", &id));
    g_assert_cmpuint(id, ==, G_MAXUINT64);
}

/* The error of a probe in a process of its own, after prepare(). */
static void
assert_probe_fails(gboolean (*prepare)(void), VarveErrorCode code, const char *text)
{
    pid_t child = fork();
    if (child == 0) {
        g_autoptr(GError) error = NULL;
        g_autoptr(GHashTable) settings = g_hash_table_new(g_str_hash, g_str_equal);
        g_hash_table_insert(settings, (char *)"dataset", (char *)"a/b");
        gboolean ok = prepare() && !driver->probe("/", settings, &error) &&
                      g_error_matches(error, VARVE_ERROR, (int)code) &&
                      strstr(error->message, text) != NULL;
        if (!ok && error != NULL)
            g_printerr("%s\n", error->message);
        _exit(ok ? 0 : 1);
    }
    int status;
    g_assert_cmpint(waitpid(child, &status, 0), ==, child);
    g_assert_cmpint(status, ==, 0);
}

static gboolean
hide_devices(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/dev", "tmpfs", 0, NULL) == 0;
}

static gboolean
become_nobody(void)
{
    return setuid(65534) == 0;
}

static void
test_no_module(void)
{
    if (scratch_need_root())
        assert_probe_fails(hide_devices, VARVE_ERROR_FAILED_PRECONDITION, "modprobe zfs");
}

static void
test_no_place(void)
{
    g_autoptr(GError) error = NULL;
    if (!has_zfs())
        return;
    g_assert_false(driver->probe("/", NULL, &error));
    assert_tells(error, VARVE_ERROR_FAILED_PRECONDITION, "dataset=POOL/NAME");
}

static void
test_no_permission(void)
{
    if (has_zfs())
        assert_probe_fails(become_nobody, VARVE_ERROR_PERMISSION_DENIED, "/dev/zfs");
}

static void
test_errors(void)
{
    static const struct {
        int errnum;
        VarveErrorCode code;
        const char *text;
    } cases[] = {
        {ZFS_ERR_IOC_CMD_UNAVAIL, VARVE_ERROR_FAILED_PRECONDITION, "does not fit"},
        {ZFS_ERR_IOC_ARG_UNAVAIL, VARVE_ERROR_FAILED_PRECONDITION, "does not fit"},
        {ENOSPC, VARVE_ERROR_NO_SPACE, "no space left"},
        {EDQUOT, VARVE_ERROR_NO_SPACE, "quota"},
        {EBUSY, VARVE_ERROR_BUSY, "in use"},
        {ENOENT, VARVE_ERROR_NOT_FOUND, "no such dataset"},
        {EEXIST, VARVE_ERROR_ALREADY_EXISTS, "File exists"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_false(varve_zfs_set_error(&error, cases[i].errnum, "cloning", "tank/a"));
        assert_tells(error, cases[i].code, "cloning tank/a: ");
        assert_tells(error, cases[i].code, cases[i].text);
    }
}

/* --- labels ----------------------------------------------------------------------------------- */

#define LABEL_PLACE (16 * 1024)

static int
make_label(nvlist_t *list, off_t place)
{
    FILE *file = tmpfile();
    int fd = dup(fileno(file));
    fclose(file);
    size_t size = 0;
    char *packed = NULL;
    g_assert_cmpint(nvlist_pack(list, &packed, &size, NV_ENCODE_XDR, 0), ==, 0);
    g_assert_no_errno(ftruncate(fd, (64 << 20) + 1000));
    g_assert_cmpint(pwrite(fd, packed, size, place), ==, size);
    fnvlist_pack_free(packed, size);
    return fd;
}

static void
test_labels(void)
{
    static const off_t places[] = {LABEL_PLACE, 256 * 1024 + LABEL_PLACE,
                                   (64 << 20) - 512 * 1024 + LABEL_PLACE,
                                   (64 << 20) - 256 * 1024 + LABEL_PLACE};
    g_autoptr(nvlist_t) list = fnvlist_alloc();
    fnvlist_add_uint64(list, "pool_guid", G_MAXUINT64 - 5);
    fnvlist_add_string(list, "name", "tank");
    for (gsize i = 0; i < G_N_ELEMENTS(places); i++) {
        VarveZfsLabel label;
        varve_autofd fd = make_label(list, places[i]);
        g_assert_true(varve_zfs_label_read(fd, &label, NULL));
        g_assert_cmpuint(label.guid, ==, G_MAXUINT64 - 5);
        g_assert_cmpstr(label.name, ==, "tank");
        g_assert_false(label.destroyed);
    }
}

/* Whatever stands where a label should be. */
static void
test_bad_labels(void)
{
    g_autoptr(nvlist_t) list = fnvlist_alloc();
    fnvlist_add_uint64(list, "pool_guid", 5);
    fnvlist_add_string(list, "pool_guid", "5");
    fnvlist_add_string(list, "name", "tank");
    VarveZfsLabel label;
    varve_autofd mistyped = make_label(list, LABEL_PLACE);
    g_assert_false(varve_zfs_label_read(mistyped, &label, NULL));
    varve_autofd dir = open("/", O_RDONLY | O_DIRECTORY);
    g_assert_false(varve_zfs_label_read(dir, &label, NULL));
    g_assert_no_errno(ftruncate(mistyped, 1000));
    g_assert_false(varve_zfs_label_read(mistyped, &label, NULL));

    fnvlist_add_uint64(list, "pool_guid", 5);
    for (guint i = 0; i < 2000; i++) {
        g_autoptr(GError) error = NULL;
        varve_autofd fd = make_label(list, LABEL_PLACE);
        for (guint n = g_test_rand_int_range(1, 4); n > 0; n--) {
            guint8 byte = (guint8)g_test_rand_int();
            off_t place = LABEL_PLACE + g_test_rand_int_range(0, 120);
            g_assert_cmpint(pwrite(fd, &byte, 1, place), ==, 1);
        }
        if (!varve_zfs_label_read(fd, &label, &error))
            g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
    }
}

static const struct {
    const char *name;
    GTestFunc func;
} tests[] = {
    {"life", test_life},
    {"name", test_name},
    {"size", test_size},
    {"opened-at-once", test_opened_at_once},
    {"foreign-dataset", test_foreign_dataset},
    {"taken", test_taken},
    {"damage", test_damage},
    {"not-exported", test_not_exported},
    {"full", test_full},
    {"settings", test_settings},
    {"ids", test_ids},
    {"no-module", test_no_module},
    {"no-place", test_no_place},
    {"no-permission", test_no_permission},
    {"errors", test_errors},
    {"labels", test_labels},
    {"bad-labels", test_bad_labels},
};

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    scratch_init();
    for (gsize i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strconcat("/zfs-image/", tests[i].name, NULL);
        g_test_add_func(path, tests[i].func);
    }
    return g_test_run();
}
