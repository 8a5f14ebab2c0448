/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/mount.h"
#include "mount-scratch.h"
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static const char *skip;

static gboolean
skipped(void)
{
    if (skip != NULL)
        g_test_skip(skip);
    return skip != NULL;
}

static VarveMount *
new_mount(const char *type, const char *source, const char *options)
{
    g_auto(GStrv) list = g_strsplit(options, ",", -1);
    return varve_mount_new(type, source, (const char *const *)list);
}

static void
attach(const char *type, const char *source, const char *options, const char *target)
{
    g_autoptr(VarveMount) mount_ = new_mount(type, source, options);
    g_autoptr(GError) error = NULL;
    varve_mount_attach(mount_, target, &error);
    g_assert_no_error(error);
}

static void
detach(const char *target)
{
    g_autoptr(GError) error = NULL;
    varve_mount_detach(target, &error);
    g_assert_no_error(error);
}

static void
assert_attach_fails(const char *type, const char *source, const char *options, const char *target,
                    VarveErrorCode code, const char *part)
{
    g_autoptr(VarveMount) mount_ = new_mount(type, source, options);
    g_autoptr(GError) error = NULL;
    g_assert_false(varve_mount_attach(mount_, target, &error));
    g_assert_error(error, VARVE_ERROR, (int)code);
    g_test_message("%s", error->message);
    g_assert_nonnull(strstr(error->message, part));
    g_assert_nonnull(strstr(error->message, target));
}

static gsize
count_mounts(void)
{
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents("/proc/self/mountinfo", &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    return g_strv_length(lines);
}

/* --- option strings: no root needed --------------------------------------------------------- */

static void
test_options(void)
{
    g_autoptr(VarveMount) mount_ =
        new_mount("ext4", "/dev/x", "ro,nosuid,noatime,strictatime,data=ordered,acl,suid,,sync");
    g_auto(VarveMountOptions) options;
    varve_mount_options_parse(mount_, &options);
    g_assert_false(options.bind);
    g_assert_cmpuint(options.flags, ==, MS_RDONLY | MS_STRICTATIME | MS_SYNCHRONOUS);
    g_assert_cmpuint(options.attributes, ==, MOUNT_ATTR_RDONLY | MOUNT_ATTR_STRICTATIME);
    g_assert_cmpuint(options.data->len, ==, 2);
    g_assert_cmpstr(options.data->pdata[0], ==, "data=ordered");
    g_assert_cmpstr(options.data->pdata[1], ==, "acl");
    g_assert_cmpuint(options.super->len, ==, 2);
}

static void
test_option_order(void)
{
    g_autoptr(VarveMount) mount_ = new_mount("none", "/x", "rbind,ro,nodev,rw,noexec,exec");
    g_auto(VarveMountOptions) options;
    varve_mount_options_parse(mount_, &options);
    g_assert_true(options.bind && options.recursive);
    g_assert_cmpuint(options.flags, ==, MS_NODEV); /* the last one wins */
    g_assert_cmpuint(options.attributes, ==, MOUNT_ATTR_NODEV);
}

static void
test_layers(void)
{
    g_autoptr(GPtrArray) layers = varve_mount_split_layers("/a:/b\\:c\\\\:/d");
    g_assert_cmpuint(layers->len, ==, 3);
    g_autofree char *middle = varve_mount_unescape(layers->pdata[1]);
    g_assert_cmpstr(middle, ==, "/b:c\\");
    g_assert_cmpstr(layers->pdata[2], ==, "/d");
}

/* --- mounts; each test runs with either API ----------------------------------------------------
 */

static void
test_bind(gconstpointer legacy)
{
    if (skipped())
        return;
    varve_mount_use_legacy(GPOINTER_TO_INT(legacy));
    g_autofree char *source = scratch_dir(legacy ? "bind-source-old" : "bind-source");
    g_autofree char *target = scratch_dir(legacy ? "bind-target-old" : "bind-target");
    write_file(source, "hello", "world");

    attach("bind", source, "rbind,rw", target);
    assert_file(target, "hello", "world");
    g_assert_cmpint(try_write(target), ==, 0);
    detach(target);

    attach("bind", source, "rbind,ro", target);
    assert_file(target, "hello", "world");
    g_assert_cmpint(try_write(target), ==, EROFS);
    g_assert_cmpint(try_write(source), ==, 0); /* the source is not touched */
    detach(target);

    attach("bind", source, "bind,nosuid,noexec,noatime", target);
    struct statvfs st;
    g_assert_cmpint(statvfs(target, &st), ==, 0);
    g_assert_cmpuint(st.f_flag & (ST_NOSUID | ST_NOEXEC | ST_NOATIME | ST_RELATIME | ST_RDONLY), ==,
                     ST_NOSUID | ST_NOEXEC | ST_NOATIME);
    detach(target);
}

/* A read-only recursive bind is read-only all the way down, which mount(2) cannot do. */
static void
test_bind_recursive(void)
{
    if (skipped())
        return;
    varve_mount_use_legacy(FALSE);
    g_autofree char *source = scratch_dir("tree-source");
    g_autofree char *target = scratch_dir("tree-target");
    g_autofree char *inner = scratch_dir("tree-source/inner");
    g_autofree char *inner_target = g_build_filename(target, "inner", NULL);
    attach("tmpfs", "tmpfs", "size=64k", inner);
    write_file(inner, "hello", "inner");

    attach("bind", source, "rbind,ro", target);
    assert_file(inner_target, "hello", "inner");
    g_assert_cmpint(try_write(inner_target), ==, EROFS);
    g_assert_cmpint(try_write(inner), ==, 0);
    g_assert_cmpint(umount2(target, MNT_DETACH), ==, 0);

    attach("bind", source, "bind", target);
    assert_file(inner_target, "hello", NULL); /* not recursive: what lies beneath is not seen */
    detach(target);
    detach(inner);
}

static void
test_tmpfs(gconstpointer legacy)
{
    if (skipped())
        return;
    varve_mount_use_legacy(GPOINTER_TO_INT(legacy));
    g_autofree char *target = scratch_dir(legacy ? "tmpfs-old" : "tmpfs");
    attach("tmpfs", "tmpfs", "nosuid,nodev,mode=0711,size=64k", target);
    struct stat st;
    struct statvfs fs;
    g_assert_cmpint(stat(target, &st), ==, 0);
    g_assert_cmpuint(st.st_mode & 07777, ==, 0711);
    g_assert_cmpint(statvfs(target, &fs), ==, 0);
    g_assert_cmpuint(fs.f_flag & (ST_NOSUID | ST_NODEV), ==, ST_NOSUID | ST_NODEV);
    detach(target);

    attach("tmpfs", "tmpfs", "ro", target);
    g_assert_cmpint(try_write(target), ==, EROFS);
    detach(target);
}

/* Makes n directories <base>/<i>, each with a file f<i>; returns "lowerdir=..." of all. */
static char *
make_layers(const char *base, guint n)
{
    GString *option = g_string_new("lowerdir=");
    for (guint i = 0; i < n; i++) {
        g_autofree char *layer = g_strdup_printf("%s/%u", base, i);
        g_autofree char *name = g_strdup_printf("f%u", i);
        g_assert_cmpint(g_mkdir(layer, 0755), ==, 0);
        write_file(layer, name, name);
        write_file(layer, "top", name); /* the first layer's is seen */
        g_string_append_printf(option, "%s%s", i > 0 ? ":" : "", layer);
    }
    return g_string_free(option, FALSE);
}

static void
check_overlay(const char *base, guint n_layers)
{
    g_assert_cmpint(g_mkdir(base, 0755), ==, 0);
    g_autofree char *layers = make_layers(base, n_layers);
    g_autofree char *upper = g_build_filename(base, "upper", NULL);
    g_autofree char *work = g_build_filename(base, "work", NULL);
    g_autofree char *target = g_build_filename(base, "target", NULL);
    g_assert_cmpint(g_mkdir(upper, 0755) | g_mkdir(work, 0755) | g_mkdir(target, 0755), ==, 0);
    g_autofree char *cwd = g_get_current_dir();

    g_autofree char *options =
        g_strdup_printf("%s,upperdir=%s,workdir=%s,index=off", layers, upper, work);
    attach("overlay", "overlay", options, target);
    for (guint i = 0; i < n_layers; i++) {
        g_autofree char *name = g_strdup_printf("f%u", i);
        assert_file(target, name, name);
    }
    assert_file(target, "top", "f0");
    write_file(target, "new", "new");
    assert_file(upper, "new", "new");
    detach(target);

    attach("overlay", "overlay", layers, target); /* as a view: without an upper layer */
    g_assert_cmpint(try_write(target), ==, EROFS);
    detach(target);
    g_autofree char *cwd_after = g_get_current_dir();
    g_assert_cmpstr(cwd, ==, cwd_after);
}

static void
test_overlay(gconstpointer legacy)
{
    if (skipped())
        return;
    varve_mount_use_legacy(GPOINTER_TO_INT(legacy));
    g_autofree char *base = g_build_filename(scratch, legacy ? "overlay-old" : "overlay", NULL);
    check_overlay(base, 3);
}

/* More layers than a page of options holds: mount(2) gets them by relative paths. */
static void
test_overlay_deep(gconstpointer legacy)
{
    if (skipped())
        return;
    varve_mount_use_legacy(GPOINTER_TO_INT(legacy));
    g_autofree char *base = g_build_filename(scratch, legacy ? "deep-old" : "deep", NULL);
    check_overlay(base, 200);
}

/* Paths that fsconfig does not take, so that the new API is passed over. */
static void
test_overlay_long(void)
{
    if (skipped())
        return;
    varve_mount_use_legacy(FALSE);
    g_autofree char *long_name = g_strnfill(200, 'x');
    g_autofree char *outer = scratch_dir(long_name);
    g_autofree char *base = g_build_filename(outer, long_name, NULL);
    check_overlay(base, 30);
}

static void
test_overlay_too_long(void)
{
    if (skipped())
        return;
    varve_mount_use_legacy(TRUE);
    g_autofree char *target = scratch_dir("too-long");
    GString *options = g_string_new("lowerdir=/a");
    for (int i = 0; i < 2000; i++)
        g_string_append_printf(options, ":/%d", i); /* nothing in common but the root */
    assert_attach_fails("overlay", "overlay", options->str, target, VARVE_ERROR_INVALID_ARGUMENT,
                        "bytes");
    g_string_free(options, TRUE);
}

static void
test_failures(gconstpointer legacy)
{
    if (skipped())
        return;
    varve_mount_use_legacy(GPOINTER_TO_INT(legacy));
    gsize before = count_mounts();
    g_autofree char *target = scratch_dir(legacy ? "fail-old" : "fail");
    g_autofree char *missing = g_build_filename(target, "missing", NULL);
    g_autofree char *file = g_build_filename(target, "file", NULL);
    g_autofree char *link = g_build_filename(target, "link", NULL);
    g_assert_cmpint(symlink(scratch, link), ==, 0);
    write_file(target, "file", "");

    assert_attach_fails("nosuchfs", "x", "ro", target, VARVE_ERROR_NOT_FOUND, "nosuchfs");
    assert_attach_fails("bind", missing, "ro", target, VARVE_ERROR_NOT_FOUND, "No such file");
    assert_attach_fails("bind", scratch, "ro", missing, VARVE_ERROR_NOT_FOUND, "mount point");
    assert_attach_fails("bind", scratch, "ro", file, VARVE_ERROR_INVALID_ARGUMENT, "mount point");
    assert_attach_fails("bind", scratch, "ro", link, VARVE_ERROR_INVALID_ARGUMENT, "mount point");
    assert_attach_fails("tmpfs", "tmpfs", "no-such-option=1", target, VARVE_ERROR_INVALID_ARGUMENT,
                        legacy ? "Invalid" : "no-such-option");
    g_assert_cmpuint(count_mounts(), ==, before);
}

static void
test_detach(void)
{
    if (skipped())
        return;
    varve_mount_use_legacy(FALSE);
    g_autofree char *target = scratch_dir("detach");
    g_autoptr(GError) not_mounted = NULL, busy = NULL, missing = NULL;
    g_assert_false(varve_mount_detach(target, &not_mounted));
    g_assert_error(not_mounted, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);

    attach("tmpfs", "tmpfs", "size=64k", target);
    varve_autofd user = open(target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_false(varve_mount_detach(target, &busy));
    g_assert_error(busy, VARVE_ERROR, VARVE_ERROR_BUSY);
    varve_fd_clear(&user);
    detach(target);

    g_assert_false(varve_mount_detach("/nowhere/at/all", &missing));
    g_assert_error(missing, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    skip = scratch_init();
    g_test_add_func("/mount/options", test_options);
    g_test_add_func("/mount/option-order", test_option_order);
    g_test_add_func("/mount/layers", test_layers);
    g_test_add_func("/mount/bind-recursive", test_bind_recursive);
    g_test_add_func("/mount/overlay-long", test_overlay_long);
    g_test_add_func("/mount/overlay-too-long", test_overlay_too_long);
    g_test_add_func("/mount/detach", test_detach);
    static const struct {
        const char *name;
        GTestDataFunc func;
    } twice[] = {
        {"bind", test_bind},         {"tmpfs", test_tmpfs},
        {"overlay", test_overlay},   {"overlay-deep", test_overlay_deep},
        {"failures", test_failures},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(twice); i++) {
        g_autofree char *new_api = g_strconcat("/mount/new/", twice[i].name, NULL);
        g_autofree char *old_api = g_strconcat("/mount/legacy/", twice[i].name, NULL);
        g_test_add_data_func(new_api, GINT_TO_POINTER(FALSE), twice[i].func);
        g_test_add_data_func(old_api, GINT_TO_POINTER(TRUE), twice[i].func);
    }
    int result = g_test_run();
    scratch_clear();
    return result;
}
