/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "snapshot/fill.h"
#include "snapshot/identity.h"
#include "snapshot/internal.h"
#include "snapshot/place.h"
#include "snapshot/trees.h"
#include "volume/stream/ahead.h"
#include "volume/stream/difference.h"
#include "volume/stream/header.h"
#include "volume/stream/pack.h"
#include "volume/stream/pipe.h"
#include "volume/stream/records.h"
#include "volume/stream/token.h"

/* Sending: SPEC row V6. */

typedef struct {
    VarvePool *pool;
    const char *name;
    const VarveSendOptions *options;
    VarveResumeToken token; /* uuid NULL: it begins at its beginning */
    VarveStreamHeader header;
    GPtrArray *lineage; /* of VarveAncestor: the snapshot and those below it */
    const char *base;   /* the name of the one that the receiver has, of lineage; NULL: none */
    GPtrArray *steps;   /* names: those of lineage before it */
    gboolean native;
    VarveTransfer result;
} Send;

static void
send_clear(Send *s)
{
    varve_resume_token_clear(&s->token);
    varve_stream_header_clear(&s->header);
    varve_transfer_clear(&s->result);
    g_clear_pointer(&s->lineage, g_ptr_array_unref);
    g_clear_pointer(&s->steps, g_ptr_array_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Send, send_clear)

/* --- what is sent ----------------------------------------------------------------------------- */

static gboolean
check_haves(const char *const *haves, GError **error)
{
    for (; haves != NULL && *haves != NULL; haves++) {
        if (!varve_uuid_check(*haves, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
is_among(const char *text, const char *const *texts)
{
    return text != NULL && texts != NULL && g_strv_contains(texts, text);
}

/* What goes on has the base that it had; with it gone, it cannot. */
static gboolean
is_base(const Send *s, const VarveAncestor *ancestor)
{
    return s->token.uuid != NULL ? g_strcmp0(ancestor->uuid, s->token.base) == 0
                                 : is_among(ancestor->uuid, s->options->haves);
}

static gboolean
begin_anew(const char *reason, GError **error)
{
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                           "it cannot go on: %s; begin anew", reason);
}

/* What was counted of the steps: 0 if one was not. */
static guint64
expected_payload(const Send *s, guint n)
{
    guint64 sum = 0;
    for (guint i = 0; i < n; i++) {
        const VarveAncestor *ancestor = s->lineage->pdata[i];
        if (ancestor->bytes < 0)
            return 0;
        sum += (guint64)ancestor->bytes;
    }
    return sum;
}

/* The newest one that the receiver has, and the steps from it. */
static gboolean
choose_base(Send *s, GError **error)
{
    s->steps = g_ptr_array_new();
    s->lineage = varve_identity_lineage(s->pool, s->name, error);
    if (s->lineage == NULL || s->lineage->len == 0)
        return FALSE;
    for (guint i = 0; i < s->lineage->len; i++) {
        const VarveAncestor *ancestor = s->lineage->pdata[i];
        if (i > 0 && is_base(s, ancestor)) {
            s->base = ancestor->name;
            s->header.base = g_strdup(ancestor->uuid);
            s->header.expected = expected_payload(s, i);
            return TRUE;
        }
        g_ptr_array_add(s->steps, ancestor->name);
    }
    if (s->token.uuid != NULL && s->token.base[0] != '\0')
        return begin_anew("what it was the difference to is gone", error);
    g_ptr_array_set_size(s->steps, 0);
    s->header.base = g_strdup("");
    s->header.expected = expected_payload(s, s->lineage->len);
    return TRUE;
}

static gboolean
choose_new_format(Send *s, const char *format, GError **error)
{
    VarveTransferFormat wish = s->options->format;
    if (wish == VARVE_TRANSFER_NATIVE && format == NULL)
        return varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                               "the driver '%s' has no streams of its own: send portable ones",
                               s->pool->driver->name);
    s->native = wish == VARVE_TRANSFER_NATIVE ||
                (wish == VARVE_TRANSFER_AUTO && is_among(format, s->options->formats));
    s->header.plain = s->options->compression == VARVE_TRANSFER_PLAIN;
    return TRUE;
}

/* As it was when the stream began: also what was thought then of how much it would be. */
static gboolean
choose_same_format(Send *s, const char *format, GError **error)
{
    s->native = g_strcmp0(s->token.format, format) == 0;
    s->header.plain = s->token.plain;
    s->header.expected = s->token.expected;
    return s->native || g_str_equal(s->token.format, VARVE_PORTABLE_FORMAT) ||
           begin_anew("it began in a format that is not made here", error);
}

static gboolean
choose_format(Send *s, GError **error)
{
    const char *format = varve_snapshot_stream_format(s->pool);
    if (!(s->token.uuid != NULL ? choose_same_format : choose_new_format)(s, format, error))
        return FALSE;
    s->header.format = g_strdup(s->native ? format : VARVE_PORTABLE_FORMAT);
    return TRUE;
}

static gboolean
check_token(Send *s, GError **error)
{
    if (s->options->resume == NULL)
        return TRUE;
    if (!varve_resume_token_read(s->options->resume, &s->token, error))
        return FALSE;
    g_autofree char *uuid = varve_identity_of(s->pool, s->name, error);
    return uuid != NULL && (g_str_equal(uuid, s->token.uuid) ||
                            begin_anew("the token is of another snapshot", error));
}

static gboolean
describe(Send *s, GError **error)
{
    GHashTableIter iter;
    gpointer key, value;
    VarveStoreInfo store;
    g_autoptr(VarveSnapshotInfo) info = NULL;
    s->header.uuid = varve_identity_of(s->pool, s->name, error);
    if (s->header.uuid == NULL || !varve_snapshot_stat(s->pool, s->name, &info, error) ||
        !varve_store_get_info(s->pool->engine->store, &store, error))
        return FALSE;
    s->header.store = g_strdup(store.uuid);
    s->header.name = g_strdup(info->name);
    s->header.created = info->created;
    s->header.labels = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_hash_table_iter_init(&iter, info->labels);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        if (varve_stream_label_travels(key))
            g_hash_table_insert(s->header.labels, g_strdup(key), g_strdup(value));
    }
    return TRUE;
}

/* --- the payload ------------------------------------------------------------------------------ */

static gboolean
tell_native(const VarveSink *sink, gpointer data, GError **error)
{
    const Send *s = data;
    return varve_snapshot_send_native(s->pool, s->name, s->base, sink, error);
}

static gboolean
tell_trees(Send *s, const VarveTrees *trees, const VarveSink *sink, GError **error)
{
    const VarveEngine *engine = s->pool->engine;
    const VarveStreamPack pack = {
        .before = trees->before,
        .after = trees->after,
        .trust_content = s->steps->len == 1,
        .watch = {&engine->cancelled, engine->progress, engine->progress_data},
    };
    const VarveDriverTrees both = {trees->before, trees->after, &engine->cancelled};
    g_autoptr(VarveStreamPacker) packer = varve_stream_packer_new(&pack, sink, error);
    g_autoptr(VarveStreamAhead) ahead =
        packer == NULL ? NULL
                       : varve_stream_ahead_new(trees->before, trees->after,
                                                varve_stream_packer_add, packer, error);
    if (ahead == NULL ||
        !varve_stream_difference(s->pool, s->steps, &both, varve_stream_ahead_add, ahead, error) ||
        !varve_stream_ahead_finish(ahead, error))
        return FALSE;
    s->result.entries = varve_stream_packer_entries(packer);
    return varve_stream_packer_finish(packer, error);
}

/* The tree that it is the difference to need not be the parent's. */
static gboolean
tell_portable(const VarveSink *sink, gpointer data, GError **error)
{
    Send *s = data;
    g_auto(VarveTrees) trees = VARVE_TREES_INIT;
    if (!varve_snapshot_open_trees(s->pool, s->name, &trees, error))
        return FALSE;
    if (s->steps->len != 1) {
        varve_fd_clear(&trees.before);
        if (s->base != NULL &&
            (trees.before = varve_snapshot_open_tree(s->pool, s->base, error)) < 0)
            return FALSE;
    }
    /* What is read of one that is removed meanwhile is nothing to rely on. */
    return tell_trees(s, &trees, sink, error) && varve_trees_check(&trees, error);
}

/* --- all -------------------------------------------------------------------------------------- */

static gboolean
write_payload(Send *s, VarveFrameWriter *writer, GError **error)
{
    VarveStreamProgress progress = {
        .func = s->options->progress,
        .data = s->options->progress_data,
        .now = {.expected = s->header.expected},
        .place = s->token.place.bytes,
    };
    return varve_pipe_into_frames(writer, s->native ? tell_native : tell_portable, s, &progress,
                                  error);
}

static gboolean
write_stream(Send *s, VarveSink sink, GError **error)
{
    g_autoptr(VarveFrameWriter) writer = varve_frame_writer_new(sink, !s->header.plain);
    if (s->token.uuid != NULL)
        varve_frame_writer_resume(writer, s->token.uuid, &s->token.place);
    if (!varve_stream_header_write(writer, &s->header, error) || !write_payload(s, writer, error) ||
        !varve_frame_writer_finish(writer, &s->result.digest, error))
        return FALSE;
    s->result.bytes = varve_frame_writer_bytes(writer);
    s->result.payload = varve_frame_writer_payload(writer);
    s->result.resumed = s->token.place.bytes;
    varve_stream_header_tell(&s->header, &s->result);
    return TRUE;
}

gboolean
varve_snapshot_send(VarvePool *pool, const char *name, const VarveSendOptions *options,
                    VarveSink sink, VarveTransfer *transfer, GError **error)
{
    static const VarveSendOptions plain = {.format = VARVE_TRANSFER_AUTO};
    g_auto(Send) s = {.pool = pool, .name = name, .options = options != NULL ? options : &plain};
    if (!check_haves(s.options->haves, error) || !check_token(&s, error) || !describe(&s, error) ||
        !choose_base(&s, error) || !choose_format(&s, error) || !write_stream(&s, sink, error))
        return varve_prefix_operation(error, "sending", pool, name);
    if (transfer != NULL) {
        *transfer = s.result;
        s.result = (VarveTransfer){0};
    }
    return TRUE;
}
