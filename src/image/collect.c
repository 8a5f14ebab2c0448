/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"
#include "base/fd.h"
#include "base/listing.h"
#include "image/content-internal.h"
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Collecting garbage. In this order, so that nothing is taken that anybody needs:
 *
 *     1. list the blobs: what is placed later is no candidate
 *     2. mark those that names lead to; they are no candidates
 *     3. lock the pins of the candidates; those that a lease holds are no candidates
 *     4. mark once more, since an operation may have given a name to its blobs, and ended its
 * lease, between 2 and 3
 *     5. take the candidates that are left out of their place, and let the locks go
 *
 * Who wants to hold a blob meanwhile waits from 3 to 5, and finds then that it is gone. So that
 * this is short, they are renamed into trash/ and deleted from there.
 */

/* Makes the table of digests to be deleted. */
static GHashTable *
list_candidates(VarveContentStore *content, GPtrArray *wanted, GError **error)
{
    g_autoptr(GHashTable) all = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (guint i = 0; wanted != NULL && i < wanted->len; i++)
        g_hash_table_add(all, g_strdup(g_ptr_array_index(wanted, i)));
    if (wanted != NULL)
        return g_steal_pointer(&all);

    varve_autofd fd = varve_fd_open_dir(content->blobsfd, ".", error);
    if (fd < 0)
        return NULL;
    g_autoptr(VarveListing) listing = varve_listing_read(fd);
    if (listing == NULL) {
        varve_error_set_errno(error, errno, "listing the blobs");
        return NULL;
    }
    for (gsize i = 0; i < varve_listing_length(listing); i++) {
        char *digest = g_strconcat(VARVE_DIGEST_PREFIX, varve_listing_get(listing, i).name, NULL);
        if (varve_digest_check(digest, NULL))
            g_hash_table_add(all, digest);
        else
            g_free(digest);
    }
    return g_steal_pointer(&all);
}

static gboolean
is_marked(gpointer digest, gpointer value, gpointer marked)
{
    return g_hash_table_contains(marked, digest);
}

static gboolean
spare_marked(GHashTable *candidates, VarveContentMark mark, gpointer data, GError **error)
{
    g_autoptr(GHashTable) marked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    if (!mark(data, marked, error))
        return FALSE;
    g_hash_table_foreach_remove(candidates, is_marked, marked);
    return TRUE;
}

static gboolean
is_held(gpointer digest, gpointer value, gpointer pinsfd)
{
    return !varve_pins_try_delete(*(int *)pinsfd, digest);
}

static gboolean
take_out(VarveContentStore *content, const char *digest, VarveCollected *collected, GError **error)
{
    struct stat st;
    const char *name = varve_digest_hex(digest);
    if (fstatat(content->blobsfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT || varve_error_set_errno(error, errno, "looking at blob %s", digest);
    if (renameat(content->blobsfd, name, content->trashfd, name) < 0)
        return errno == ENOENT || varve_error_set_errno(error, errno, "deleting blob %s", digest);
    collected->blobs++;
    collected->bytes += (guint64)st.st_blocks * 512;
    return TRUE;
}

static gboolean
take_all_out(VarveContentStore *content, GHashTable *candidates, VarveCollected *collected,
             GError **error)
{
    GHashTableIter iter;
    gpointer digest;
    g_hash_table_iter_init(&iter, candidates);
    while (g_hash_table_iter_next(&iter, &digest, NULL)) {
        if (!take_out(content, digest, collected, error))
            return FALSE;
    }
    return TRUE;
}

/* Also what an earlier collection that was cut short has left there. */
static gboolean
empty_trash(VarveContentStore *content, GError **error)
{
    varve_autofd fd = varve_fd_open_dir(content->trashfd, ".", error);
    if (fd < 0)
        return FALSE;
    g_autoptr(VarveListing) listing = varve_listing_read(fd);
    if (listing == NULL)
        return varve_error_set_errno(error, errno, "listing the trash");
    for (gsize i = 0; i < varve_listing_length(listing); i++) {
        const char *name = varve_listing_get(listing, i).name;
        if (unlinkat(content->trashfd, name, 0) < 0 && errno != ENOENT)
            return varve_error_set_errno(error, errno, "deleting blob %s", name);
    }
    return TRUE;
}

static gboolean
collect_blobs(VarveContentStore *content, GHashTable *candidates, VarveContentMark mark,
              gpointer data, VarveCollected *collected, GError **error)
{
    if (g_hash_table_size(candidates) > 0 && !spare_marked(candidates, mark, data, error))
        return FALSE;
    varve_autofd pinsfd = varve_pins_open(content, error);
    if (pinsfd < 0)
        return FALSE;
    collected->in_use += g_hash_table_foreach_remove(candidates, is_held, &pinsfd);
    if (g_hash_table_size(candidates) > 0 && (!spare_marked(candidates, mark, data, error) ||
                                              !take_all_out(content, candidates, collected, error)))
        return FALSE;
    varve_fd_clear(&pinsfd);
    return empty_trash(content, error);
}

/* Deletes one that was begun, unless somebody is writing it. */
static gboolean
collect_begun(VarveContentStore *content, const char *name, VarveCollected *collected,
              GError **error)
{
    struct stat st;
    varve_autofd fd = openat(content->ingestfd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) < 0)
        return errno == ENOENT ||
               varve_error_set_errno(error, errno, "looking at the begun blob %s", name);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 || !varve_fd_is_linked(fd, content->ingestfd, name))
        return TRUE;
    if (unlinkat(content->ingestfd, name, 0) < 0 && errno != ENOENT)
        return varve_error_set_errno(error, errno, "deleting the begun blob %s", name);
    collected->begun++;
    collected->bytes += (guint64)st.st_blocks * 512;
    return TRUE;
}

static gboolean
collect_all_begun(VarveContentStore *content, VarveCollected *collected, GError **error)
{
    varve_autofd fd = varve_fd_open_dir(content->ingestfd, ".", error);
    if (fd < 0)
        return FALSE;
    g_autoptr(VarveListing) listing = varve_listing_read(fd);
    if (listing == NULL)
        return varve_error_set_errno(error, errno, "listing what was begun");
    for (gsize i = 0; i < varve_listing_length(listing); i++) {
        if (!collect_begun(content, varve_listing_get(listing, i).name, collected, error))
            return FALSE;
    }
    return TRUE;
}

gboolean
varve_content_collect(VarveContentStore *content, GPtrArray *candidates, VarveContentMark mark,
                      gpointer data, VarveCollected *collected, GError **error)
{
    g_autoptr(GHashTable) table = list_candidates(content, candidates, error);
    return table != NULL && collect_blobs(content, table, mark, data, collected, error) &&
           (candidates != NULL || collect_all_begun(content, collected, error));
}
