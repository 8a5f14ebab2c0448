/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"
#include "image/import.h"
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Importing from a directory that is an OCI layout. */

typedef struct {
    VarveImport *import;
    int dirfd;
} Directory;

/* Opens a file of the layout, which must be one: no link leads anywhere, no fifo blocks. -1 with
 * errno set. */
static int
open_inside(int dirfd, const char *path)
{
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    struct stat st;
    varve_autofd fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -1;
    if (!S_ISREG(st.st_mode)) {
        errno = EINVAL;
        return -1;
    }
    int result = fd;
    fd = -1;
    return result;
}

static char *
read_small(int dirfd, const char *path, gsize max_size, gsize *size, GError **error)
{
    varve_autofd fd = open_inside(dirfd, path);
    if (fd < 0) {
        varve_error_set_errno(error, errno, "opening %s", path);
        return NULL;
    }
    g_autofree char *text = g_malloc(max_size + 2);
    ssize_t n;
    for (*size = 0; *size <= max_size; *size += (gsize)n) {
        n = read(fd, text + *size, max_size + 1 - *size);
        if (n < 0) {
            varve_error_set_errno(error, errno, "reading %s", path);
            return NULL;
        }
        if (n == 0)
            return g_realloc(g_steal_pointer(&text), *size + 1);
    }
    varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "%s is larger than %zu bytes", path,
                    max_size);
    return NULL;
}

static gboolean
store_file(Directory *directory, const VarveDescriptor *descriptor, int fd, GError **error)
{
    VarveImport *import = directory->import;
    g_autoptr(VarveIngest) ingest = NULL;
    guint64 size;
    if (!varve_ingest_begin(import->images->content, import->lease, descriptor->digest,
                            (gint64)descriptor->size, &import->images->watch, &ingest, error))
        return FALSE;
    if (ingest == NULL)
        return TRUE;
    if (!varve_ingest_write_file(ingest, fd, error) ||
        !varve_ingest_finish(ingest, NULL, &size, error)) {
        varve_ingest_discard(ingest);
        return FALSE;
    }
    varve_import_note(import, descriptor->digest, size);
    return TRUE;
}

static gboolean
fetch(const VarveDescriptor *descriptor, gpointer data, gboolean *present, GError **error)
{
    Directory *directory = data;
    g_autofree char *path =
        g_strconcat(VARVE_LAYOUT_BLOBS, varve_digest_hex(descriptor->digest), NULL);
    varve_autofd fd = open_inside(directory->dirfd, path);
    if (fd < 0 && errno == ENOENT)
        return varve_import_find(directory->import, descriptor, present, error);
    if (fd < 0)
        return varve_error_set_errno(error, errno, "opening %s", path);
    *present = TRUE;
    return store_file(directory, descriptor, fd, error);
}

GPtrArray *
varve_import_directory(VarveImport *import, int dirfd, GError **error)
{
    Directory directory = {import, dirfd};
    gsize size;
    g_autofree char *version = read_small(dirfd, VARVE_LAYOUT_FILE, VARVE_LAYOUT_MAX, &size, error);
    if (version == NULL) {
        g_prefix_error(error, "it is no OCI layout: ");
        return NULL;
    }
    if (!varve_layout_check_version(version, size, error))
        return NULL;
    g_autofree char *index =
        read_small(dirfd, VARVE_LAYOUT_INDEX, VARVE_MAX_MANIFEST, &size, error);
    if (index == NULL)
        return NULL;
    g_autoptr(GPtrArray) offers = varve_layout_parse_index(index, size, error);
    if (offers == NULL)
        return NULL;
    g_autoptr(GPtrArray) namings = varve_layout_choose(offers, import->options, error);
    if (namings == NULL || !varve_import_complete(import, namings, fetch, &directory, error))
        return NULL;
    return g_steal_pointer(&namings);
}
