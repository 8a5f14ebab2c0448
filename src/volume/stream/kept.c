/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/kept.h"
#include "snapshot/internal.h"
#include "volume/stream/token.h"
#include <sys/stat.h>
#include <unistd.h>

/* What is kept of transfers that broke off, for those who want to go on: the first frames of a
 * stream. The file may end anywhere, or in anything after a power cut: the last frame that is right
 * is where to go on. */

/* --- tokens ----------------------------------------------------------------------------------- */

/* FALSE with the error set when it was interrupted: that is no reason to forget anything. */
static gboolean
find_end(VarvePool *pool, VarveFrameReader *reader, GError **error)
{
    const guint8 *bytes;
    gsize size;
    do {
        if (!varve_check_cancelled(&pool->engine->cancelled, error))
            return FALSE;
    } while (varve_frame_reader_next(reader, &bytes, &size, NULL) && bytes != NULL);
    return TRUE;
}

/* NULL without an error when there is not even a header. */
static char *
make_token(VarvePool *pool, VarveKept *kept, GError **error)
{
    g_auto(VarveStreamHeader) header = {0};
    g_autoptr(VarveFrameReader) reader =
        varve_frame_reader_new(varve_kept_read(kept, varve_kept_size(kept)));
    varve_frame_reader_skim(reader);
    if (!varve_stream_header_read(reader, &header, NULL)) {
        varve_kept_forget(kept);
        return NULL;
    }
    if (!find_end(pool, reader, error))
        return NULL;
    const VarveFramePlace place = varve_frame_reader_place(reader);
    return varve_resume_token_write(&header, &place);
}

char *
varve_pool_resume_token(VarvePool *pool, const char *uuid, GError **error)
{
    GError *failure = NULL;
    char *token = NULL;
    g_autoptr(VarveKept) kept = varve_kept_open(pool, uuid, FALSE, &failure);
    if (kept != NULL && varve_kept_size(kept) > 0)
        token = make_token(pool, kept, &failure);
    if (failure != NULL) {
        g_prefix_error(&failure, "looking for what is kept of %s in pool '%s': ", uuid, pool->name);
        g_propagate_error(error, failure);
    }
    return token;
}

/* --- all -------------------------------------------------------------------------------------- */

void
varve_kept_transfer_free(VarveKeptTransfer *kept)
{
    if (kept == NULL)
        return;
    g_free(kept->uuid);
    g_free(kept->name);
    g_free(kept->base);
    g_free(kept->format);
    g_free(kept);
}

static gssize
read_file(gpointer data, void *buffer, gsize size, GError **error)
{
    ssize_t n = read(*(const int *)data, buffer, size);
    if (n < 0)
        varve_error_set_errno(error, errno, "reading what was kept");
    return n;
}

/* One whose header did not come whole is nothing to go on with. */
static gboolean
add_kept(const char *uuid, int fd, gboolean busy, gint64 touched, gpointer all, GError **error)
{
    struct stat st;
    g_auto(VarveStreamHeader) header = {0};
    g_autoptr(VarveFrameReader) reader = varve_frame_reader_new((VarveSource){read_file, &fd});
    if (fstat(fd, &st) < 0 || !varve_stream_header_read(reader, &header, NULL))
        return TRUE;
    VarveKeptTransfer *kept = g_new0(VarveKeptTransfer, 1);
    kept->uuid = g_strdup(uuid);
    kept->name = g_strdup(header.name);
    kept->base = header.base[0] != '\0' ? g_strdup(header.base) : NULL;
    kept->format = g_strdup(header.format);
    kept->bytes = (guint64)st.st_size;
    kept->expected = header.expected;
    kept->touched = touched;
    kept->busy = busy;
    g_ptr_array_add(all, kept);
    return TRUE;
}

GPtrArray *
varve_pool_kept_transfers(VarvePool *pool, GError **error)
{
    g_autoptr(GPtrArray) all =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_kept_transfer_free);
    if (varve_kept_walk(pool, add_kept, all, error))
        return g_steal_pointer(&all);
    g_prefix_error(error, "listing what is kept of transfers into pool '%s': ", pool->name);
    return NULL;
}

gboolean
varve_pool_forget_transfer(VarvePool *pool, const char *uuid, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(VarveKept) kept = varve_kept_open(pool, uuid, FALSE, &failure);
    if (kept != NULL) {
        varve_kept_forget(kept);
        return TRUE;
    }
    if (failure == NULL)
        varve_error_set(&failure, VARVE_ERROR_NOT_FOUND, "nothing is kept of it");
    g_prefix_error(&failure, "forgetting the transfer of %s into pool '%s': ", uuid, pool->name);
    g_propagate_error(error, g_steal_pointer(&failure));
    return FALSE;
}
