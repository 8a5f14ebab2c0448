/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/zfs/image.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/process.h"
#include "driver/image-size.h"
#include "driver/zfs/label.h"
#include "driver/zfs/note.h"
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define KSTATS "/proc/spl/kstat/zfs"

struct VarveZfsImage {
    const VarveDriverHost *host;
    char *file;
    char *name;
};

static VarveZfsImage *
image_new(const VarveDriverHost *host, const char *file, const char *name)
{
    VarveZfsImage *image = g_new0(VarveZfsImage, 1);
    image->host = host;
    image->file = g_strdup(file);
    image->name = g_strdup(name);
    return image;
}

void
varve_zfs_image_close(VarveZfsImage *image)
{
    if (image == NULL)
        return;
    g_free(image->file);
    g_free(image->name);
    g_free(image);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveZfsImage, varve_zfs_image_close)

const char *
varve_zfs_image_get_name(VarveZfsImage *image)
{
    return image->name;
}

/* --- the zpool command ------------------------------------------------------------------------ */

static char *
find_command(GError **error)
{
    return varve_process_find("zpool", "zfsutils-linux", error);
}

/* Runs zpool with the arguments, of which the first must be NULL and becomes its path. */
static gboolean
run_zpool(const char **argv, char **output, GError **error)
{
    g_autofree char *command = find_command(error);
    if (command == NULL)
        return FALSE;
    argv[0] = command;
    return varve_process_run(argv, output, error);
}

gboolean
varve_zfs_image_probe(const char *file, GError **error)
{
    g_autofree char *command = find_command(error);
    if (command == NULL)
        return FALSE;
    g_autofree char *parent = g_path_get_dirname(file);
    if (!g_file_test(parent, G_FILE_TEST_IS_DIR))
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "the directory %s, which is to hold the pool's file, is missing",
                               parent);
    return TRUE;
}

/* --- names ------------------------------------------------------------------------------------ */

static gboolean
is_imported(const char *name)
{
    g_autofree char *path = g_build_filename(KSTATS, name, NULL);
    return access(path, F_OK) == 0;
}

static gboolean
check_name(const char *name, GError **error)
{
    if (strchr(name, '/') != NULL || !varve_zfs_check_base(name, NULL))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "'%s' is not the name of a zpool: that begins with a letter and has "
                               "letters, digits, '_', '-', '.' and ':'",
                               name);
    return !is_imported(name) ||
           varve_error_set(error, VARVE_ERROR_ALREADY_EXISTS,
                           "there is a zpool of the name '%s' already: choose another one with the "
                           "setting zpool=NAME",
                           name);
}

/* --- a lock ----------------------------------------------------------------------------------- */

/* Whoever has the result has the file's lock. */
static int
lock_file(const char *file, GError **error)
{
    varve_autofd fd = open(file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        varve_error_set(error, VARVE_ERROR_NOT_FOUND, "the pool's file %s is missing", file);
        return -1;
    }
    if (fd < 0 || flock(fd, LOCK_EX) < 0) {
        varve_error_set_errno(error, errno, "locking the pool's file %s", file);
        return -1;
    }
    int result = fd;
    fd = -1;
    return result;
}

/* --- an imported one -------------------------------------------------------------------------- */

static const char mark_program[] = //
    "local args = ...\n"
    "local mark, source = zfs.get_prop(args['base'], 'org.varve:pool')\n"
    "if source ~= args['base'] then mark = nil end\n"
    "return {mark = mark}\n";

static gboolean
has_mark(const char *name, const char *uuid)
{
    g_autoptr(nvlist_t) found =
        varve_zfs_run(name, VARVE_ZFS_LOOK, mark_program, NULL, "looking at", NULL);
    return g_strcmp0(varve_zfs_string(found, "mark"), uuid) == 0;
}

/* The name of the imported zpool that has the mark, or NULL. */
static char *
find_imported(const char *name, const char *uuid)
{
    if (is_imported(name) && has_mark(name, uuid))
        return g_strdup(name);
    g_autoptr(GDir) pools = g_dir_open(KSTATS, 0, NULL);
    for (const char *other; pools != NULL && (other = g_dir_read_name(pools)) != NULL;) {
        g_autofree char *path = g_build_filename(KSTATS, other, NULL);
        if (g_file_test(path, G_FILE_TEST_IS_DIR) && has_mark(other, uuid))
            return g_strdup(other);
    }
    return NULL;
}

/* Whether one of the zpool's devices, which are lines of a blank and a path, is the file. Paths are
 * those of the import: the file may have got another one since. */
static gboolean
is_device(char *listing, const struct stat *file)
{
    g_auto(GStrv) lines = g_strsplit(listing, "\n", -1);
    for (char **line = lines; *line != NULL; line++) {
        struct stat st;
        char *path = g_strchug(*line);
        path[strcspn(path, "\t")] = '\0';
        if (*path == '/' && stat(path, &st) == 0 && st.st_dev == file->st_dev &&
            st.st_ino == file->st_ino)
            return TRUE;
    }
    return FALSE;
}

/* A copy of the pool's directory and file is not the pool, whose snapshots would be nobody's for
 * whoever opens the copy. */
static gboolean
check_device(VarveZfsImage *image, int fd, GError **error)
{
    struct stat st;
    g_autofree char *listing = NULL;
    const char *argv[] = {NULL, "list", "-v", "-H", "-P", "-L", image->name, NULL};
    if (fstat(fd, &st) < 0)
        return varve_error_set_errno(error, errno, "looking at the pool's file %s", image->file);
    if (!run_zpool(argv, &listing, error))
        return FALSE;
    return is_device(listing, &st) ||
           varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "the zpool '%s' is this pool's, but is imported from another file than "
                           "%s, which was moved or copied: 'zpool export %s', and it is imported "
                           "from here the next time",
                           image->name, image->file, image->name);
}

/* --- one that is to be imported --------------------------------------------------------------- */

static gboolean
check_label(const VarveZfsImage *image, int fd, const char *guid, GError **error)
{
    VarveZfsLabel label;
    if (!varve_zfs_label_read(fd, &label, error)) {
        g_prefix_error(error, "the pool's file %s: ", image->file);
        return FALSE;
    }
    g_autofree char *found = g_strdup_printf("%" G_GUINT64_FORMAT, label.guid);
    if (!g_str_equal(found, guid))
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "the file %s holds another zpool than this pool's: it is '%s', "
                               "whose GUID is %s and should be %s; it was left alone",
                               image->file, label.name, found, guid);
    return !label.destroyed ||
           varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "the zpool in %s was destroyed: 'zpool import -D -N -o cachefile=none "
                           "-d %s %s' may bring it back",
                           image->file, image->file, guid);
}

static gboolean
import_file(VarveZfsImage *image, int fd, GError **error)
{
    g_autofree char *guid = varve_zfs_note_read(image->host, "guid", error);
    if (guid == NULL || !check_label(image, fd, guid, error))
        return FALSE;
    if (is_imported(image->name))
        return varve_error_set(error, VARVE_ERROR_ALREADY_EXISTS,
                               "the pool's zpool cannot be imported, since there is another one of "
                               "the name '%s': export that, or import the pool's by another name: "
                               "'zpool import -N -o cachefile=none -d %s %s NAME'",
                               image->name, image->file, guid);
    const char *argv[] = {NULL, "import", "-d",        image->file, "-o", "cachefile=none",
                          "-N", guid,     image->name, NULL};
    g_autoptr(GError) why = NULL;
    if (run_zpool(argv, NULL, &why))
        return TRUE;
    if (strstr(why->message, "another system") != NULL)
        return varve_error_set(
            error, VARVE_ERROR_FAILED_PRECONDITION,
            "the zpool in %s was last used by another host (or this one's hostid "
            "changed), and not exported there: if that does not use it any more, "
            "'zpool import -f -N -o cachefile=none -d %s %s %s'",
            image->file, image->file, guid, image->name);
    /* The file was found to be ours, so what ZFS does not like about it is damage. */
    gboolean failed = g_error_matches(why, VARVE_ERROR, VARVE_ERROR_INTERNAL);
    return varve_error_set(error, failed ? VARVE_ERROR_CORRUPT : (VarveErrorCode)why->code,
                           "the zpool in %s cannot be imported: %s", image->file, why->message);
}

VarveZfsImage *
varve_zfs_image_import(const VarveDriverHost *host, const char *file, const char *name,
                       const char *uuid, GError **error)
{
    g_autoptr(VarveZfsImage) image = image_new(host, file, name);
    varve_autofd lock = lock_file(file, error);
    if (lock < 0)
        return NULL;
    char *imported = find_imported(name, uuid);
    if (imported == NULL)
        return import_file(image, lock, error) ? g_steal_pointer(&image) : NULL;
    g_free(image->name);
    image->name = imported;
    return check_device(image, lock, error) ? g_steal_pointer(&image) : NULL;
}

/* --- a fresh one ------------------------------------------------------------------------------ */

static gboolean
create_zpool(VarveZfsImage *image, const char *uuid, GError **error)
{
    g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
    /* autotrim: what is freed in there becomes a hole in the file again. */
    static const char *const head[] = {"create",    "-o", "cachefile=none", "-o",
                                       "ashift=12", "-o", "autotrim=on"};
    g_autofree char *command = find_command(error);
    if (command == NULL)
        return FALSE;
    g_ptr_array_add(argv, g_strdup(command));
    for (gsize i = 0; i < G_N_ELEMENTS(head); i++)
        g_ptr_array_add(argv, g_strdup(head[i]));
    varve_zfs_properties_add_options(argv);
    g_ptr_array_add(argv, g_strdup("-O"));
    g_ptr_array_add(argv, g_strconcat(VARVE_ZFS_POOL_PROPERTY "=", uuid, NULL));
    g_ptr_array_add(argv, g_strdup(image->name));
    g_ptr_array_add(argv, g_strdup(image->file));
    g_ptr_array_add(argv, NULL);
    g_autoptr(GError) why = NULL;
    if (varve_process_run((const char *const *)argv->pdata, NULL, &why))
        return TRUE;
    return varve_error_set(error, (VarveErrorCode)why->code, "making a zpool in %s: %s",
                           image->file, why->message);
}

/* Notes whose the file is. */
static gboolean
write_notes(VarveZfsImage *image, int fd, const char *uuid, GError **error)
{
    VarveZfsLabel label;
    if (!varve_zfs_label_read(fd, &label, error))
        return FALSE;
    g_autofree char *guid = g_strdup_printf("%" G_GUINT64_FORMAT, label.guid);
    return varve_zfs_note_write(image->host, "uuid", uuid, error) &&
           varve_zfs_note_write(image->host, "guid", guid, error);
}

static gboolean
delete_files(VarveZfsImage *image, GError **error)
{
    if (unlink(image->file) < 0 && errno != ENOENT)
        return varve_error_set_errno(error, errno, "deleting %s", image->file);
    varve_zfs_note_delete(image->host, "uuid");
    varve_zfs_note_delete(image->host, "guid");
    return TRUE;
}

static gboolean
fill_file(VarveZfsImage *image, int fd, guint64 size, const char *uuid, GError **error)
{
    GError *undo_error = NULL;
    if (ftruncate(fd, (off_t)size) < 0)
        varve_error_set_errno(error, errno, "making %s %" G_GUINT64_FORMAT " bytes large",
                              image->file, size);
    else if (create_zpool(image, uuid, error)) {
        if (write_notes(image, fd, uuid, error))
            return TRUE;
        if (!varve_zfs_image_destroy(image, &undo_error))
            varve_error_log_undo("destroying a zpool that could not be noted", undo_error);
        return FALSE;
    }
    if (!delete_files(image, &undo_error))
        varve_error_log_undo("deleting the file of a zpool that could not be made", undo_error);
    return FALSE;
}

VarveZfsImage *
varve_zfs_image_make(const VarveDriverHost *host, const char *file, const char *size_setting,
                     const char *name, const char *uuid, GError **error)
{
    guint64 size;
    g_autoptr(VarveZfsImage) image = image_new(host, file, name);
    if (!check_name(name, error) || !varve_image_size(file, size_setting, &size, error))
        return NULL;
    varve_autofd fd = open(file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        if (errno == EEXIST)
            varve_error_set(error, VARVE_ERROR_ALREADY_EXISTS,
                            "the file %s is there already; it was left alone", file);
        else
            varve_error_set_errno(error, errno, "making the file %s", file);
        return NULL;
    }
    return fill_file(image, fd, size, uuid, error) ? g_steal_pointer(&image) : NULL;
}

/* --- the end ---------------------------------------------------------------------------------- */

/* zpool unmounts what is mounted in this mount namespace, and refuses where that fails. */
gboolean
varve_zfs_image_destroy(VarveZfsImage *image, GError **error)
{
    const char *argv[] = {NULL, "destroy", image->name, NULL};
    g_autoptr(GError) why = NULL;
    if (run_zpool(argv, NULL, &why))
        return delete_files(image, error);
    gboolean busy = strstr(why->message, "busy") != NULL;
    return varve_error_set(error, busy ? VARVE_ERROR_BUSY : (VarveErrorCode)why->code, "%s",
                           why->message);
}
