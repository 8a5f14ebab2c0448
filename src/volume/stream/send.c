/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "snapshot/fill.h"
#include "snapshot/identity.h"
#include "snapshot/internal.h"
#include "snapshot/place.h"
#include "snapshot/trees.h"
#include "volume/stream/difference.h"
#include "volume/stream/header.h"
#include "volume/stream/pack.h"
#include "volume/stream/pipe.h"
#include "volume/stream/records.h"

/* Sending: SPEC row V6. */

typedef struct {
    VarvePool *pool;
    const char *name;
    const VarveSendOptions *options;
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
        if (i > 0 && is_among(ancestor->uuid, s->options->haves)) {
            s->base = ancestor->name;
            s->header.base = g_strdup(ancestor->uuid);
            return TRUE;
        }
        g_ptr_array_add(s->steps, ancestor->name);
    }
    g_ptr_array_set_size(s->steps, 0);
    s->header.base = g_strdup("");
    return TRUE;
}

static gboolean
choose_format(Send *s, GError **error)
{
    const char *format = varve_snapshot_stream_format(s->pool);
    VarveTransferFormat wish = s->options->format;
    if (wish == VARVE_TRANSFER_NATIVE && format == NULL)
        return varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                               "the driver '%s' has no streams of its own: send portable ones",
                               s->pool->driver->name);
    s->native = wish == VARVE_TRANSFER_NATIVE ||
                (wish == VARVE_TRANSFER_AUTO && is_among(format, s->options->formats));
    s->header.format = g_strdup(s->native ? format : VARVE_PORTABLE_FORMAT);
    return TRUE;
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
    if (packer == NULL ||
        !varve_stream_difference(s->pool, s->steps, &both, varve_stream_packer_add, packer, error))
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
write_stream(Send *s, VarveSink sink, GError **error)
{
    gboolean compress = s->options->compression == VARVE_TRANSFER_ZSTD_AUTO;
    g_autoptr(VarveFrameWriter) writer = varve_frame_writer_new(sink, compress);
    if (!varve_stream_header_write(writer, &s->header, error) ||
        !varve_pipe_into_frames(writer, s->native ? tell_native : tell_portable, s, error) ||
        !varve_frame_writer_finish(writer, &s->result.digest, error))
        return FALSE;
    s->result.bytes = varve_frame_writer_bytes(writer);
    s->result.payload = varve_frame_writer_payload(writer);
    varve_stream_header_tell(&s->header, &s->result);
    return TRUE;
}

gboolean
varve_snapshot_send(VarvePool *pool, const char *name, const VarveSendOptions *options,
                    VarveSink sink, VarveTransfer *transfer, GError **error)
{
    static const VarveSendOptions plain = {.format = VARVE_TRANSFER_AUTO};
    g_auto(Send) s = {.pool = pool, .name = name, .options = options != NULL ? options : &plain};
    if (!check_haves(s.options->haves, error) || !describe(&s, error) || !choose_base(&s, error) ||
        !choose_format(&s, error) || !write_stream(&s, sink, error))
        return varve_prefix_operation(error, "sending", pool, name);
    if (transfer != NULL) {
        *transfer = s.result;
        s.result = (VarveTransfer){0};
    }
    return TRUE;
}

/* --- what there is ---------------------------------------------------------------------------- */

char *
varve_snapshot_uuid(VarvePool *pool, const char *name, GError **error)
{
    char *uuid = varve_identity_of(pool, name, error);
    if (uuid == NULL)
        varve_prefix_operation(error, "finding the universal id of", pool, name);
    return uuid;
}

const char *
varve_pool_stream_format(VarvePool *pool)
{
    return varve_snapshot_stream_format(pool);
}

typedef struct {
    gint64 created;
    char *uuid;
} Have;

static int
newest_first(gconstpointer a, gconstpointer b)
{
    gint64 x = ((const Have *)a)->created, y = ((const Have *)b)->created;
    return x > y ? -1 : x < y;
}

static gboolean
add_have(const VarveSnapshotInfo *info, gpointer haves, GError **error)
{
    const Have have = {info->created,
                       g_strdup(g_hash_table_lookup(info->labels, VARVE_LABEL_UUID))};
    g_array_append_val((GArray *)haves, have);
    return TRUE;
}

static char **
all_haves(VarvePool *pool, GError **error)
{
    static const char *const filters[] = {"kind==committed,labels.\"" VARVE_LABEL_UUID "\"", NULL};
    g_autoptr(GArray) haves = g_array_new(FALSE, FALSE, sizeof(Have));
    gboolean ok = varve_snapshot_walk(pool, filters, add_have, haves, error);
    g_array_sort(haves, newest_first);
    char **uuids = g_new0(char *, haves->len + 1);
    for (guint i = 0; i < haves->len; i++)
        uuids[i] = g_array_index(haves, Have, i).uuid;
    if (!ok)
        g_clear_pointer(&uuids, g_strfreev);
    return uuids;
}

char **
varve_pool_haves(VarvePool *pool, const char *key, GError **error)
{
    if (key == NULL)
        return all_haves(pool, error);
    g_autoptr(GPtrArray) lineage = varve_identity_lineage(pool, key, error);
    if (lineage == NULL) {
        varve_prefix_operation(error, "looking up", pool, key);
        return NULL;
    }
    char **uuids = g_new0(char *, lineage->len + 1);
    for (guint i = 0, n = 0; i < lineage->len; i++) {
        const VarveAncestor *ancestor = lineage->pdata[i];
        if (ancestor->uuid != NULL)
            uuids[n++] = g_strdup(ancestor->uuid);
    }
    return uuids;
}
