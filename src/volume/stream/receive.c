/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/receive.h"
#include "snapshot/fill.h"
#include "snapshot/identity.h"
#include "snapshot/internal.h"
#include "snapshot/kept.h"
#include "volume/stream/header.h"
#include "volume/stream/opening.h"
#include "volume/stream/pipe.h"
#include "volume/stream/records.h"
#include "volume/stream/token.h"
#include "volume/stream/unpack.h"

/* Receiving: SPEC rows V6 and V7. */

typedef struct {
    VarvePool *pool;
    const VarveReceiveOptions *options;
    const VarveReceiveInto *into; /* NULL: a snapshot of its own */
    VarveStreamOpening opening;
    VarveKept *kept;  /* nobody else receives that snapshot meanwhile */
    gboolean useless; /* what came of it */
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
    g_clear_pointer(&r->kept, varve_kept_close);
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
    g_clear_pointer(&transfer->token, g_free);
}

/* --- how it begins ---------------------------------------------------------------------------- */

/* Two at a time would not know of each other before the last of them is done. */
static gboolean
open_kept(Receive *r, GError **error)
{
    GError *failure = NULL;
    r->kept = varve_kept_open(r->pool, r->opening.uuid, FALSE, &failure);
    if (failure != NULL) {
        g_propagate_error(error, failure);
        return FALSE;
    }
    if (r->kept == NULL || varve_kept_size(r->kept) < r->opening.place.bytes)
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                               "what this goes on with was not kept: begin anew");
    r->opening.kept = varve_kept_read(r->kept, r->opening.place.bytes);
    return TRUE;
}

/* Whether it failed in what was kept: that is another stream's, or damaged. It stays, since a token
 * of it tells how much of it is right. */
static gboolean
failed_in_kept(const Receive *r)
{
    return r->opening.goes_on && r->reader != NULL && varve_frame_reader_failed(r->reader) &&
           varve_frame_reader_place(r->reader).bytes < r->opening.place.bytes;
}

static gboolean
does_not_go_on(GError **error)
{
    g_clear_error(error);
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "what was kept is not what this goes on with: take another token of it, "
                           "or begin anew");
}

static gboolean
check_place(Receive *r, GError **error)
{
    return varve_frame_reader_expect(r->reader, &r->opening.place, error) &&
           (g_str_equal(r->header.uuid, r->opening.uuid) || does_not_go_on(error));
}

static gboolean
open_stream(Receive *r, VarveSource source, GError **error)
{
    if (!varve_stream_opening_read(&r->opening, source, error) ||
        (r->opening.goes_on && !open_kept(r, error)))
        return FALSE;
    r->reader = varve_frame_reader_new(varve_stream_opening_source(&r->opening));
    if (!varve_stream_header_read(r->reader, &r->header, error))
        return failed_in_kept(r) ? does_not_go_on(error) : FALSE;
    if (r->opening.goes_on)
        return check_place(r, error);
    r->kept = varve_kept_open(r->pool, r->header.uuid, TRUE, error);
    return r->kept != NULL;
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
    r->useless = TRUE;
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
check_format(Receive *r, gboolean *native, GError **error)
{
    const char *format = r->header.format, *own = varve_snapshot_stream_format(r->pool);
    *native = !g_str_equal(format, VARVE_PORTABLE_FORMAT);
    if (!*native || g_strcmp0(format, own) == 0)
        return TRUE;
    r->useless = TRUE;
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
read_payload(Receive *r,
             gboolean (*consume)(const VarveSource *source, gpointer data, GError **error),
             GError **error)
{
    VarveStreamProgress progress = {
        .func = r->options->progress,
        .data = r->options->progress_data,
        .now = {.expected = r->header.expected},
        .place = r->opening.place.bytes,
    };
    return varve_pipe_from_frames(r->reader, consume, r, &progress, &r->pool->engine->cancelled,
                                  error);
}

static gboolean
fill(int root, gpointer data, GError **error)
{
    Receive *r = data;
    r->root = root;
    return read_payload(r, unpack, error);
}

/* What is wrong though each frame was right would be wrong again. */
static gboolean
make(Receive *r, gboolean native, GError **error)
{
    if (r->options->keep)
        varve_frame_reader_keep(r->reader, varve_kept_write(r->kept, r->opening.place.bytes));
    GError *failure = NULL;
    if (native ? read_payload(r, make_native, &failure)
               : varve_snapshot_fill(r->pool, &r->filling, fill, r, &failure))
        return TRUE;
    r->useless |= g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_CORRUPT) &&
                  !varve_frame_reader_failed(r->reader);
    g_propagate_error(error, failure);
    return failed_in_kept(r) ? does_not_go_on(error) : FALSE;
}

/* --- what is left of it ----------------------------------------------------------------------- */

/* What was kept before stays when a stream fails that did not go on with it, and is not kept. */
static void
settle(Receive *r, gboolean done)
{
    const VarveFramePlace *begun = &r->opening.place;
    if (r->kept == NULL)
        return;
    VarveFramePlace place = {0};
    if (r->reader != NULL)
        place = varve_frame_reader_place(r->reader);
    if (done || (r->useless && (r->options->keep || r->opening.goes_on)))
        varve_kept_forget(r->kept);
    place = place.bytes >= begun->bytes ? place : *begun;
    if (!done && r->options->keep && !failed_in_kept(r) && place.bytes > 0 &&
        varve_kept_size(r->kept) >= place.bytes)
        r->result.token = varve_resume_token_write(&r->header, &place);
}

/* --- all -------------------------------------------------------------------------------------- */

static gboolean
plan(Receive *r, GError **error)
{
    if (r->options->name != NULL) {
        g_free(r->header.name);
        r->header.name = g_strdup(r->options->name);
    }
    add_labels(r);
    if (r->into != NULL && !r->into->plan(&r->header, &r->filling, r->into->data, error))
        return FALSE;
    r->filling.name = r->header.name;
    r->filling.labels = r->header.labels;
    return TRUE;
}

static gboolean
receive(Receive *r, VarveSource source, GError **error)
{
    gboolean native;
    if (!open_stream(r, source, error)) {
        g_prefix_error(error, "receiving into pool '%s': ", r->pool->name);
        return FALSE;
    }
    if (!plan(r, error) || !check_new(r, error) || !find_parent(r, error) ||
        !check_format(r, &native, error) || !make(r, native, error))
        return varve_prefix_operation(error, "receiving", r->pool, r->header.name);
    varve_stream_header_tell(&r->header, &r->result);
    r->result.digest = g_strdup(varve_frame_reader_digest(r->reader));
    r->result.bytes = varve_frame_reader_bytes(r->reader);
    r->result.payload = varve_frame_reader_payload(r->reader);
    r->result.resumed = r->opening.place.bytes;
    return TRUE;
}

gboolean
varve_stream_receive(VarvePool *pool, VarveSource source, const VarveReceiveOptions *options,
                     const VarveReceiveInto *into, VarveTransfer *transfer, GError **error)
{
    static const VarveReceiveOptions plain = {.name = NULL};
    g_auto(Receive) r = {.pool = pool, .options = options != NULL ? options : &plain, .into = into};
    gboolean ok = receive(&r, source, error);
    settle(&r, ok);
    if (!ok)
        r.result.uuid = g_strdup(r.header.uuid);
    if (transfer != NULL) {
        *transfer = r.result;
        r.result = (VarveTransfer){0};
    }
    return ok;
}

gboolean
varve_snapshot_receive(VarvePool *pool, VarveSource source, const VarveReceiveOptions *options,
                       VarveTransfer *transfer, GError **error)
{
    return varve_stream_receive(pool, source, options, NULL, transfer, error);
}
