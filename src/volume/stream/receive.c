/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/fill.h"
#include "snapshot/identity.h"
#include "snapshot/internal.h"
#include "volume/stream/header.h"
#include "volume/stream/pipe.h"
#include "volume/stream/records.h"
#include "volume/stream/unpack.h"

/* Receiving: SPEC rows V6 and V7. */

typedef struct {
    VarvePool *pool;
    const VarveReceiveOptions *options;
    VarveFrameReader *reader;
    VarveStreamHeader header;
    char *parent; /* the name here of what it is the difference to */
    VarveFilling filling;
    int root;
    VarveTransfer result;
} Receive;

static void
receive_clear(Receive *r)
{
    g_clear_pointer(&r->reader, varve_frame_reader_free);
    varve_stream_header_clear(&r->header);
    varve_transfer_clear(&r->result);
    g_clear_pointer(&r->parent, g_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Receive, receive_clear)

void
varve_transfer_clear(VarveTransfer *transfer)
{
    g_clear_pointer(&transfer->name, g_free);
    g_clear_pointer(&transfer->uuid, g_free);
    g_clear_pointer(&transfer->base, g_free);
    g_clear_pointer(&transfer->format, g_free);
    g_clear_pointer(&transfer->digest, g_free);
}

/* --- what it is made on ----------------------------------------------------------------------- */

static gboolean
check_new(Receive *r, GError **error)
{
    g_autofree char *name = NULL;
    if (!varve_identity_find(r->pool, r->header.uuid, &name, error))
        return FALSE;
    if (name == NULL)
        return TRUE;
    g_autofree char *shown = varve_key_display(name);
    return varve_error_set(error, VARVE_ERROR_ALREADY_EXISTS, "that snapshot is there, as '%s'",
                           shown);
}

static gboolean
find_parent(Receive *r, GError **error)
{
    if (r->header.base[0] == '\0')
        return TRUE;
    if (!varve_identity_find(r->pool, r->header.base, &r->parent, error))
        return FALSE;
    r->filling.parent = r->parent;
    return r->parent != NULL ||
           varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "the stream is the difference to the snapshot %s, which is not there: "
                           "have it sent in full, or as the difference to one that is",
                           r->header.base);
}

static gboolean
check_format(const Receive *r, gboolean *native, GError **error)
{
    const char *format = r->header.format, *own = varve_snapshot_stream_format(r->pool);
    *native = !g_str_equal(format, VARVE_PORTABLE_FORMAT);
    if (!*native || g_strcmp0(format, own) == 0)
        return TRUE;
    g_autofree char *shown = varve_key_display(format);
    return varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                           "the stream is of the format '%s', which the driver '%s' does not take: "
                           "have it sent as a portable one",
                           shown, r->pool->driver->name);
}

/* What it travelled with, what is given here, and who it is. */
static void
add_labels(Receive *r)
{
    GHashTableIter iter;
    gpointer key, value;
    GHashTable *labels = r->header.labels;
    if (r->options->labels != NULL) {
        g_hash_table_iter_init(&iter, r->options->labels);
        while (g_hash_table_iter_next(&iter, &key, &value))
            g_hash_table_replace(labels, g_strdup(key), g_strdup(value));
    }
    g_hash_table_replace(labels, g_strdup(VARVE_LABEL_UUID), g_strdup(r->header.uuid));
}

/* --- the payload ------------------------------------------------------------------------------ */

static gboolean
make_native(const VarveSource *source, gpointer data, GError **error)
{
    const Receive *r = data;
    return varve_snapshot_fill_native(r->pool, &r->filling, source, error);
}

static gboolean
unpack(const VarveSource *source, gpointer data, GError **error)
{
    Receive *r = data;
    const VarveEngine *engine = r->pool->engine;
    const VarveTreeWatch watch = {&engine->cancelled, engine->progress, engine->progress_data};
    return varve_stream_unpack(r->root, *source, &watch, &r->result.entries, error);
}

static gboolean
fill(int root, gpointer data, GError **error)
{
    Receive *r = data;
    r->root = root;
    return varve_pipe_from_frames(r->reader, unpack, r, &r->pool->engine->cancelled, error);
}

static gboolean
make(Receive *r, gboolean native, GError **error)
{
    return native ? varve_pipe_from_frames(r->reader, make_native, r, &r->pool->engine->cancelled,
                                           error)
                  : varve_snapshot_fill(r->pool, &r->filling, fill, r, error);
}

/* --- all -------------------------------------------------------------------------------------- */

static gboolean
receive(Receive *r, GError **error)
{
    gboolean native;
    if (!varve_stream_header_read(r->reader, &r->header, error)) {
        g_prefix_error(error, "receiving into pool '%s': ", r->pool->name);
        return FALSE;
    }
    if (r->options->name != NULL) {
        g_free(r->header.name);
        r->header.name = g_strdup(r->options->name);
    }
    add_labels(r);
    r->filling = (VarveFilling){.name = r->header.name, .labels = r->header.labels};
    if (!check_new(r, error) || !find_parent(r, error) || !check_format(r, &native, error) ||
        !make(r, native, error))
        return varve_prefix_operation(error, "receiving", r->pool, r->header.name);
    varve_stream_header_tell(&r->header, &r->result);
    r->result.digest = g_strdup(varve_frame_reader_digest(r->reader));
    r->result.bytes = varve_frame_reader_bytes(r->reader);
    r->result.payload = varve_frame_reader_payload(r->reader);
    return TRUE;
}

gboolean
varve_snapshot_receive(VarvePool *pool, VarveSource source, const VarveReceiveOptions *options,
                       VarveTransfer *transfer, GError **error)
{
    static const VarveReceiveOptions plain = {.name = NULL};
    g_auto(Receive) r = {.pool = pool, .options = options != NULL ? options : &plain};
    r.reader = varve_frame_reader_new(source);
    if (!receive(&r, error))
        return FALSE;
    if (transfer != NULL) {
        *transfer = r.result;
        r.result = (VarveTransfer){0};
    }
    return TRUE;
}
