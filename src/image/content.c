/* SPDX-License-Identifier: Apache-2.0 */
#include "image/content.h"
#include "base/digest.h"
#include "image/content-internal.h"
#include <sys/stat.h>
#include <unistd.h>

#define PRIVATE_DIR ((mode_t)0700)

/* --- opening ---------------------------------------------------------------------------------- */

/* Makes or opens a directory; a new one is durable, so that its files can be. */
static int
open_dir(int dirfd, const char *name, GError **error)
{
    gboolean fresh = faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0;
    varve_autofd fd = varve_fd_make_dir(dirfd, name, PRIVATE_DIR, error);
    if (fd < 0)
        return -1;
    if (fresh && fsync(dirfd) < 0) {
        varve_error_set_errno(error, errno, "syncing the directory of %s", name);
        return -1;
    }
    int result = fd;
    fd = -1;
    return result;
}

static gboolean
open_all(VarveContentStore *content, int rootfd, GError **error)
{
    content->fd = open_dir(rootfd, "content", error);
    if (content->fd < 0)
        return FALSE;
    varve_autofd blobs = open_dir(content->fd, "blobs", error);
    if (blobs < 0)
        return FALSE;
    content->blobsfd = open_dir(blobs, "sha256", error);
    if (content->blobsfd < 0)
        return FALSE;
    content->ingestfd = open_dir(content->fd, "ingest", error);
    if (content->ingestfd < 0)
        return FALSE;
    content->trashfd = open_dir(content->fd, "trash", error);
    return content->trashfd >= 0;
}

typedef struct {
    int failed; /* errno */
} Sync;

static void
run_syncs(gpointer *items, gsize n, gpointer data)
{
    VarveContentStore *content = data;
    int failed = fsync(content->blobsfd) < 0 ? errno : 0;
    for (gsize i = 0; i < n; i++)
        ((Sync *)items[i])->failed = failed;
}

VarveContentStore *
varve_content_store_open(int rootfd, GError **error)
{
    g_autoptr(VarveContentStore) content = g_new0(VarveContentStore, 1);
    content->fd = content->blobsfd = content->ingestfd = content->trashfd = -1;
    content->syncs = varve_batch_new(run_syncs, content);
    if (!open_all(content, rootfd, error)) {
        g_prefix_error(error, "opening the content store: ");
        return NULL;
    }
    return g_steal_pointer(&content);
}

void
varve_content_store_close(VarveContentStore *content)
{
    if (content == NULL)
        return;
    varve_batch_free(content->syncs);
    varve_fd_clear(&content->trashfd);
    varve_fd_clear(&content->ingestfd);
    varve_fd_clear(&content->blobsfd);
    varve_fd_clear(&content->fd);
    g_free(content);
}

gboolean
varve_content_store_sync(VarveContentStore *content, GError **error)
{
    Sync sync = {0};
    varve_batch_submit(content->syncs, &sync);
    return sync.failed == 0 ||
           varve_error_set_errno(error, sync.failed, "syncing the directory of blobs");
}

/* --- reading ---------------------------------------------------------------------------------- */

gboolean
varve_content_find(VarveContentStore *content, const char *digest, gboolean *found, guint64 *size,
                   GError **error)
{
    struct stat st;
    *found = FALSE;
    if (!varve_digest_check(digest, error))
        return FALSE;
    if (fstatat(content->blobsfd, varve_digest_hex(digest), &st, AT_SYMLINK_NOFOLLOW) == 0) {
        *found = TRUE;
        if (size != NULL)
            *size = (guint64)st.st_size;
        return TRUE;
    }
    return errno == ENOENT || varve_error_set_errno(error, errno, "looking for blob %s", digest);
}

int
varve_content_open(VarveContentStore *content, const char *digest, guint64 *size, GError **error)
{
    struct stat st;
    if (!varve_digest_check(digest, error))
        return -1;
    varve_autofd fd =
        openat(content->blobsfd, varve_digest_hex(digest), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno == ENOENT) {
        varve_error_set(error, VARVE_ERROR_NOT_FOUND, "blob %s is not here", digest);
        return -1;
    }
    if (fd < 0 || fstat(fd, &st) < 0) {
        varve_error_set_errno(error, errno, "opening blob %s", digest);
        return -1;
    }
    if (size != NULL)
        *size = (guint64)st.st_size;
    int result = fd;
    fd = -1;
    return result;
}

static gboolean
read_all(int fd, char *bytes, gsize size, const char *digest, GError **error)
{
    for (gsize done = 0; done < size;) {
        ssize_t n = read(fd, bytes + done, size - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return varve_error_set_errno(error, errno, "reading blob %s", digest);
        if (n == 0)
            return varve_error_set(error, VARVE_ERROR_CORRUPT, "blob %s was cut short", digest);
        done += (gsize)n;
    }
    return TRUE;
}

char *
varve_content_read(VarveContentStore *content, const char *digest, gsize max_size, gsize *size,
                   GError **error)
{
    guint64 length;
    varve_autofd fd = varve_content_open(content, digest, &length, error);
    if (fd < 0)
        return NULL;
    if (length > max_size) {
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                        "blob %s has %" G_GUINT64_FORMAT " bytes, at most %zu are allowed for it",
                        digest, length, max_size);
        return NULL;
    }
    g_autofree char *bytes = g_malloc(length + 1);
    if (!read_all(fd, bytes, length, digest, error))
        return NULL;
    bytes[length] = '\0';
    g_autofree char *actual = varve_digest_of(bytes, length);
    if (!g_str_equal(actual, digest)) {
        varve_error_set(error, VARVE_ERROR_CORRUPT,
                        "blob %s was damaged on disk: its digest is %s now; remove its file from "
                        "content/blobs/sha256 and import or pull the image again",
                        digest, actual);
        return NULL;
    }
    *size = length;
    return g_steal_pointer(&bytes);
}
