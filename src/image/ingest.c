/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"
#include "base/uuid.h"
#include "image/content-internal.h"
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIECE     ((gsize)1 << 20)    /* bytes per write, and per read of what is there */
#define WRITE_OUT ((guint64)16 << 20) /* bytes after which the disk is set to work on them */

struct VarveIngest {
    VarveContentStore *content;
    VarveLease *lease;
    const VarveTreeWatch *watch;
    char *key;    /* its name in ingest/ */
    char *digest; /* what it must be; NULL: anything */
    gint64 size;  /* -1: any */
    int fd;       /* locked */
    VarveDigester *digester;
    char *actual; /* the digest that it has; NULL: not known yet */
    char *buffer;
    gsize buffered;
    guint64 written;   /* to the file */
    guint64 flushed;   /* of these, handed to the disk */
    gboolean reserved; /* there is room for all of it */
    gboolean placed;   /* it is where blobs are */
    gboolean failed;   /* nothing of it is to be kept */
};

/* --- beginning -------------------------------------------------------------------------------- */

static gboolean
open_locked(VarveIngest *ingest, GError **error)
{
    const gint *cancelled = ingest->watch != NULL ? ingest->watch->cancelled : NULL;
    ingest->fd = varve_ingest_open_locked(ingest->content->ingestfd, ingest->key, cancelled, error);
    return ingest->fd >= 0;
}

/* Hashes what an earlier attempt wrote. */
static gboolean
take_over(VarveIngest *ingest, GError **error)
{
    for (;;) {
        ssize_t n = pread(ingest->fd, ingest->buffer, PIECE, (off_t)ingest->written);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return varve_error_set_errno(error, errno, "reading what is there of it");
        if (n == 0)
            return TRUE;
        varve_digester_update(ingest->digester, ingest->buffer, (gsize)n);
        ingest->written += (guint64)n;
    }
}

/* Room for all of it now rather than a full disk in the end. */
static gboolean
reserve(VarveIngest *ingest, GError **error)
{
    if (ingest->reserved || ingest->size < (gint64)PIECE)
        return TRUE;
    ingest->reserved = TRUE;
    int rc = fallocate(ingest->fd, FALLOC_FL_KEEP_SIZE, 0, (off_t)ingest->size) < 0 ? errno : 0;
    if (rc != ENOSPC && rc != EDQUOT && rc != EFBIG)
        return TRUE; /* the file system may not know how to */
    return varve_error_set_errno(error, rc, "making room for its %" G_GINT64_FORMAT " bytes",
                                 ingest->size);
}

static gboolean
check_size_there(VarveIngest *ingest, guint64 size, GError **error)
{
    return ingest->size < 0 || (guint64)ingest->size == size ||
           varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "it has %" G_GUINT64_FORMAT " bytes, not the %" G_GINT64_FORMAT
                           " that its descriptor says",
                           size, ingest->size);
}

static gboolean
find_there(VarveIngest *ingest, gboolean *there, GError **error)
{
    guint64 size;
    *there = FALSE;
    if (ingest->digest == NULL)
        return TRUE;
    return varve_content_find(ingest->content, ingest->digest, there, &size, error) &&
           (!*there || check_size_there(ingest, size, error));
}

static gboolean
start(VarveIngest *ingest, GError **error)
{
    struct stat st;
    ingest->buffer = g_malloc(PIECE);
    ingest->digester = varve_digester_new();
    if (fstat(ingest->fd, &st) < 0)
        return varve_error_set_errno(error, errno, "looking at its file");
    if (ingest->size >= 0 && st.st_size > ingest->size)
        return varve_ingest_restart(ingest, error);
    return take_over(ingest, error);
}

/* Sets *there when there is nothing to write. It is looked for twice: cheaply first, and once more
 * when nobody else can be writing it. */
static gboolean
begin(VarveIngest *ingest, gboolean *there, GError **error)
{
    if (ingest->digest != NULL && !varve_lease_hold(ingest->lease, ingest->digest, error))
        return FALSE;
    if (!find_there(ingest, there, error))
        return FALSE;
    if (*there)
        return TRUE;
    if (!open_locked(ingest, error))
        return FALSE;
    gboolean ok = find_there(ingest, there, error) && (*there || start(ingest, error));
    ingest->failed = !ok || *there; /* then the file was made for nothing */
    return ok;
}

static gboolean
prefix_blob(const char *digest, GError **error)
{
    if (digest != NULL)
        g_prefix_error(error, "storing blob %s: ", digest);
    else
        g_prefix_error(error, "storing a blob: ");
    return FALSE;
}

gboolean
varve_ingest_begin(VarveContentStore *content, VarveLease *lease, const char *digest, gint64 size,
                   const VarveTreeWatch *watch, VarveIngest **ingest, GError **error)
{
    gboolean there = FALSE;
    *ingest = NULL;
    if (digest != NULL && !varve_digest_check(digest, error))
        return FALSE;
    g_autoptr(VarveIngest) new = g_new0(VarveIngest, 1);
    g_autofree char *random = varve_uuid_new();
    new->content = content;
    new->lease = lease;
    new->watch = watch;
    new->digest = g_strdup(digest);
    new->size = size;
    new->fd = -1;
    new->key = digest != NULL ? g_strdup(varve_digest_hex(digest)) : g_strdup(random);
    if (!begin(new, &there, error))
        return prefix_blob(digest, error);
    if (!there)
        *ingest = g_steal_pointer(&new);
    return TRUE;
}

guint64
varve_ingest_offset(const VarveIngest *ingest)
{
    return ingest->written + ingest->buffered;
}

guint64
varve_ingest_written(const VarveIngest *ingest)
{
    return ingest->written;
}

int
varve_ingest_open(const VarveIngest *ingest, GError **error)
{
    int fd = openat(ingest->content->ingestfd, ingest->key, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        varve_error_set_errno(error, errno, "opening the file of blob %s", ingest->digest);
    return fd;
}

gboolean
varve_ingest_restart(VarveIngest *ingest, GError **error)
{
    if (ftruncate(ingest->fd, 0) < 0) {
        ingest->failed = TRUE;
        return varve_error_set_errno(error, errno, "beginning a blob anew");
    }
    ingest->written = ingest->flushed = ingest->buffered = 0;
    ingest->failed = FALSE;
    g_clear_pointer(&ingest->actual, g_free);
    varve_digester_free(ingest->digester);
    ingest->digester = varve_digester_new();
    return TRUE;
}

/* --- writing ---------------------------------------------------------------------------------- */

static gboolean
write_piece(VarveIngest *ingest, const char *bytes, gsize size, GError **error)
{
    if (ingest->watch != NULL && !varve_check_cancelled(ingest->watch->cancelled, error))
        return FALSE;
    if (!reserve(ingest, error))
        return FALSE;
    varve_digester_update(ingest->digester, bytes, size);
    if (!varve_fd_write_all(ingest->fd, bytes, size, (gint64)ingest->written))
        return varve_error_set_errno(error, errno, "writing it after byte %" G_GUINT64_FORMAT,
                                     ingest->written);
    ingest->written += size;
    if (ingest->written - ingest->flushed >= WRITE_OUT) {
        /* The sync in the end finds little left to wait for. */
        (void)sync_file_range(ingest->fd, (off_t)ingest->flushed,
                              (off_t)(ingest->written - ingest->flushed), SYNC_FILE_RANGE_WRITE);
        ingest->flushed = ingest->written;
    }
    return TRUE;
}

/* What could not be written because of being interrupted is still there to be written by leave().
 */
static gboolean
flush(VarveIngest *ingest, GError **error)
{
    if (ingest->buffered > 0 && !write_piece(ingest, ingest->buffer, ingest->buffered, error))
        return FALSE;
    ingest->buffered = 0;
    return TRUE;
}

/* Makes pieces of PIECE bytes; large ones are written as they come. */
static gboolean
add(VarveIngest *ingest, const char *bytes, gsize size, GError **error)
{
    if (ingest->size >= 0 && size > (guint64)ingest->size - varve_ingest_offset(ingest))
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "it is longer than the %" G_GINT64_FORMAT
                               " bytes that its descriptor says",
                               ingest->size);
    while (size > 0) {
        if (ingest->buffered == 0 && size >= PIECE)
            return write_piece(ingest, bytes, size, error);
        gsize part = MIN(size, PIECE - ingest->buffered);
        memcpy(ingest->buffer + ingest->buffered, bytes, part);
        ingest->buffered += part;
        bytes += part;
        size -= part;
        if (ingest->buffered == PIECE && !flush(ingest, error))
            return FALSE;
    }
    return TRUE;
}

/* To be interrupted is no reason to throw away what is there; anything wrong with the content or
 * the disk is. */
static gboolean
failed(VarveIngest *ingest, GError **error)
{
    ingest->failed = ingest->watch == NULL || varve_check_cancelled(ingest->watch->cancelled, NULL);
    return prefix_blob(ingest->digest, error);
}

gboolean
varve_ingest_write(VarveIngest *ingest, const void *bytes, gsize size, GError **error)
{
    return add(ingest, bytes, size, error) || failed(ingest, error);
}

gboolean
varve_ingest_write_source(VarveIngest *ingest, const VarveSource *source, GError **error)
{
    g_autofree char *piece = g_malloc(PIECE);
    for (;;) {
        gssize n = source->read(source->data, piece, PIECE, error);
        if (n <= 0)
            return n == 0;
        if (!varve_ingest_write(ingest, piece, (gsize)n, error))
            return FALSE;
    }
}

/* Takes all of a file at once, and hashes what it got: nobody else can change that. */
static gboolean
share_blocks(VarveIngest *ingest, int fd, gboolean *shared, GError **error)
{
    *shared = ingest->written == 0 && ingest->buffered == 0 && ioctl(ingest->fd, FICLONE, fd) == 0;
    if (!*shared)
        return TRUE;
    struct stat st;
    if (fstat(ingest->fd, &st) < 0)
        return varve_error_set_errno(error, errno, "looking at its file");
    return check_size_there(ingest, (guint64)st.st_size, error) && take_over(ingest, error);
}

static gssize
read_file(gpointer data, void *buffer, gsize size, GError **error)
{
    ssize_t n;
    do
        n = read(*(int *)data, buffer, size);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        varve_error_set_errno(error, errno, "reading the file of a blob");
    return n;
}

VarveSource
varve_content_source(int *fd)
{
    return (VarveSource){read_file, fd};
}

gboolean
varve_ingest_write_file(VarveIngest *ingest, int fd, GError **error)
{
    gboolean shared;
    if (!share_blocks(ingest, fd, &shared, error))
        return failed(ingest, error);
    if (shared)
        return TRUE;
    if (lseek(fd, (off_t)varve_ingest_offset(ingest), SEEK_SET) < 0)
        return varve_error_set_errno(error, errno, "reading the file of a blob");
    VarveSource source = {read_file, &fd};
    return varve_ingest_write_source(ingest, &source, error);
}

/* --- finishing -------------------------------------------------------------------------------- */

static gboolean
check(VarveIngest *ingest, GError **error)
{
    if (!check_size_there(ingest, ingest->written, error))
        return FALSE;
    if (ingest->actual == NULL)
        ingest->actual = varve_digester_finish(ingest->digester);
    return ingest->digest == NULL || g_str_equal(ingest->digest, ingest->actual) ||
           varve_error_set(error, VARVE_ERROR_CORRUPT, "its content has the digest %s",
                           ingest->actual);
}

gboolean
varve_ingest_verify(VarveIngest *ingest, GError **error)
{
    return (flush(ingest, error) && check(ingest, error)) || failed(ingest, error);
}

static gboolean
place(VarveIngest *ingest, const char *digest, GError **error)
{
    VarveContentStore *content = ingest->content;
    gboolean there = FALSE;
    if (ingest->digest == NULL && (!varve_lease_hold(ingest->lease, digest, error) ||
                                   !varve_content_find(content, digest, &there, NULL, error)))
        return FALSE;
    if (there)
        return TRUE; /* the file is removed when the ingest is freed */
    if (fdatasync(ingest->fd) < 0)
        return varve_error_set_errno(error, errno, "syncing it");
    if (renameat(content->ingestfd, ingest->key, content->blobsfd, varve_digest_hex(digest)) < 0)
        return varve_error_set_errno(error, errno, "putting it in its place");
    ingest->placed = TRUE;
    return TRUE;
}

gboolean
varve_ingest_finish(VarveIngest *ingest, char **digest, guint64 *size, GError **error)
{
    if (!varve_ingest_verify(ingest, error))
        return FALSE;
    if (!place(ingest, ingest->actual, error))
        return failed(ingest, error);
    if (size != NULL)
        *size = ingest->written;
    if (digest != NULL)
        *digest = g_strdup(ingest->actual);
    return TRUE;
}

void
varve_ingest_discard(VarveIngest *ingest)
{
    ingest->failed = TRUE;
}

/* The name is taken away under the lock, so nobody else has begun to write the file. What is in the
 * buffer still can be of use to who goes on. */
static void
leave(VarveIngest *ingest)
{
    g_autoptr(GError) error = NULL;
    ingest->watch = NULL; /* cancelled or not */
    gboolean keep =
        !ingest->failed && ingest->digest != NULL && flush(ingest, NULL) && ingest->written > 0;
    if (!keep && unlinkat(ingest->content->ingestfd, ingest->key, 0) < 0 && errno != ENOENT) {
        varve_error_set_errno(&error, errno, "removing its file");
        varve_error_log_undo("giving up the writing of a blob", g_steal_pointer(&error));
    }
}

void
varve_ingest_free(VarveIngest *ingest)
{
    if (ingest == NULL)
        return;
    if (ingest->fd >= 0 && !ingest->placed)
        leave(ingest);
    varve_fd_clear(&ingest->fd);
    varve_digester_free(ingest->digester);
    g_free(ingest->buffer);
    g_free(ingest->actual);
    g_free(ingest->digest);
    g_free(ingest->key);
    g_free(ingest);
}
