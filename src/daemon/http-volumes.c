/* SPDX-License-Identifier: Apache-2.0 */
/* Volumes, as Flynn's clients know them (host/volume/api in flynn): id, type, meta and created_at
 * are theirs, the other fields are more than they ask for. */
#include "daemon/http-volumes.h"
#include "daemon/http-json.h"

#define MAX_META 1000

static json_t *
volume_json(const VarveVolumeInfo *info)
{
    json_t *value = json_object();
    varve_http_set(value, "id", info->id);
    varve_http_set(value, "type", info->type);
    if (g_hash_table_size(info->meta) > 0)
        varve_http_set_pairs(value, "meta", info->meta);
    varve_http_set_time(value, "created_at", info->created);
    varve_http_set(value, "provider", info->provider);
    varve_http_set(value, "driver", info->driver);
    varve_http_set(value, "path", info->path);
    varve_http_set_int(value, "size", info->size);
    json_object_set_new(value, "mounted", json_boolean(info->mounted));
    json_object_set_new(value, "holders", json_array());
    for (char **holder = info->holders; *holder != NULL; holder++)
        json_array_append_new(json_object_get(value, "holders"), json_string(*holder));
    json_object_set_new(value, "snapshot", json_boolean(info->snapshot));
    if (info->snapshot) {
        varve_http_set(value, "of", info->of);
        varve_http_set(value, "uuid", info->uuid);
        json_object_set_new(value, "atomic", json_boolean(info->atomic));
    }
    return value;
}

static json_t *
event_json(const char *type, json_t *volume)
{
    json_t *event = json_object();
    varve_http_set(event, "type", type);
    json_object_set_new(event, "volume", volume);
    return event;
}

/* --- what a volume is to be ----------------------------------------------------------------- */

/* A body's wishes; the strings are the body's. */
typedef struct {
    json_t *body;
    GHashTable *meta;
    VarveVolumeOptions options;
} Wishes;

static void
clear_wishes(Wishes *wishes)
{
    json_decref(wishes->body);
    g_clear_pointer(&wishes->meta, g_hash_table_unref);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Wishes, clear_wishes)

static gboolean
read_wishes(VarveHttpRequest *request, Wishes *wishes, GError **error)
{
    gint64 size = 0;
    VarveVolumeOptions *options = &wishes->options;
    json_t *body = wishes->body = varve_http_request_json(request, JSON_OBJECT, error);
    if (body == NULL || !varve_json_get_string(body, "id", &options->id, error) ||
        !varve_json_get_string(body, "type", &options->type, error) ||
        !varve_json_get_pairs(body, "meta", MAX_META, &wishes->meta, error) ||
        !varve_json_get_integer(body, "size", 0, G_MAXINT64, &size, error) ||
        !varve_json_get_boolean(body, "freeze", &options->freeze, error))
        return FALSE;
    options->meta = wishes->meta;
    options->size = (guint64)size;
    return TRUE;
}

void
varve_http_publish_volume(const VarveHttpContext *context, const char *type,
                          const VarveVolumeInfo *info)
{
    varve_http_hub_publish(context->volume_events, event_json(type, volume_json(info)));
}

void
varve_http_reply_made(VarveHttpRequest *request, const VarveHttpContext *context,
                      VarveVolumeInfo *info, GError *error)
{
    if (info == NULL) {
        varve_http_reply_error(request, error);
        return;
    }
    varve_http_publish_volume(context, "create", info);
    varve_http_reply_json(request, 200, volume_json(info));
    varve_volume_info_free(info);
}

void
varve_http_publish_made(const VarveHttpContext *context, const char *id)
{
    g_autoptr(VarveVolumeInfo) info = varve_volumes_inspect(context->volumes, id, NULL);
    if (info != NULL)
        varve_http_publish_volume(context, "create", info);
}

static void
create_volume(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    GError *error = NULL;
    VarveVolumeInfo *info = NULL;
    g_auto(Wishes) wishes = {0};
    if (read_wishes(request, &wishes, &error)) {
        wishes.options.provider = varve_http_request_param(request, "id");
        info = varve_volumes_create(context->volumes, &wishes.options, &error);
    }
    varve_http_reply_made(request, context, info, error);
}

/* Of a volume or snapshot, another one. */
typedef VarveVolumeInfo *(*Derive)(VarveVolumes *volumes, const char *id,
                                   const VarveVolumeOptions *options, GError **error);

static void
derive(VarveHttpRequest *request, const VarveHttpContext *context, Derive func)
{
    GError *error = NULL;
    VarveVolumeInfo *info = NULL;
    g_auto(Wishes) wishes = {0};
    if (read_wishes(request, &wishes, &error))
        info = func(context->volumes, varve_http_request_param(request, "id"), &wishes.options,
                    &error);
    varve_http_reply_made(request, context, info, error);
}

static void
snapshot_volume(VarveHttpRequest *request, gpointer data)
{
    derive(request, data, varve_volumes_snapshot);
}

static void
fork_volume(VarveHttpRequest *request, gpointer data)
{
    derive(request, data, varve_volumes_fork);
}

/* --- looking -------------------------------------------------------------------------------- */

/* Replies with a list, which is taken, or the error. */
static void
reply_list(VarveHttpRequest *request, json_t *list, GError *error)
{
    if (list != NULL)
        varve_http_reply_json(request, 200, list);
    else
        varve_http_reply_error(request, error);
}

static json_t *
list_matching(const VarveHttpContext *context, const VarveVolumeFilter *filter, GError **error)
{
    g_autoptr(GPtrArray) volumes = varve_volumes_list(context->volumes, filter, error);
    if (volumes == NULL)
        return NULL;
    json_t *list = json_array();
    for (guint i = 0; i < volumes->len; i++)
        json_array_append_new(list, volume_json(volumes->pdata[i]));
    return list;
}

/* Those that are there, and then what comes and goes. */
static void
stream_volumes(VarveHttpRequest *request, const VarveHttpContext *context,
               const VarveVolumeFilter *filter)
{
    GError *error = NULL;
    g_autoptr(VarveHttpListener) listener = varve_http_hub_listen(context->volume_events);
    json_auto_t *volumes = list_matching(context, filter, &error);
    if (volumes == NULL) {
        varve_http_reply_error(request, error);
        return;
    }
    json_t *events = json_array();
    for (gsize i = 0; i < json_array_size(volumes); i++)
        json_array_append_new(events,
                              event_json("create", json_incref(json_array_get(volumes, i))));
    varve_http_reply_events(request, g_steal_pointer(&listener), events);
}

static void
list_volumes(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    const VarveVolumeFilter filter = {.provider = varve_http_request_query(request, "provider"),
                                      .type = varve_http_request_query(request, "type")};
    GError *error = NULL;
    if (varve_http_request_accepts(request, "text/event-stream")) {
        stream_volumes(request, context, &filter);
        return;
    }
    json_t *list = list_matching(context, &filter, &error);
    reply_list(request, list, error);
}

static void
list_snapshots(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    GError *error = NULL;
    json_t *list = NULL;
    const VarveVolumeFilter filter = {.which = VARVE_VOLUMES_SNAPSHOTS,
                                      .of = varve_http_request_param(request, "id")};
    g_autoptr(VarveVolumeInfo) info = varve_volumes_inspect(context->volumes, filter.of, &error);
    if (info != NULL)
        list = list_matching(context, &filter, &error);
    reply_list(request, list, error);
}

static void
list_haves(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    GError *error = NULL;
    json_t *list = NULL;
    g_autoptr(GPtrArray) haves =
        varve_volumes_haves(context->volumes, varve_http_request_param(request, "id"), &error);
    if (haves != NULL)
        list = json_array();
    for (guint i = 0; haves != NULL && i < haves->len; i++) {
        const VarveVolumeHave *have = haves->pdata[i];
        json_t *value = json_object();
        varve_http_set(value, "uuid", have->uuid);
        varve_http_set(value, "id", have->id);
        json_array_append_new(list, value);
    }
    reply_list(request, list, error);
}

static void
get_volume(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    GError *error = NULL;
    g_autoptr(VarveVolumeInfo) info =
        varve_volumes_inspect(context->volumes, varve_http_request_param(request, "id"), &error);
    if (info != NULL)
        varve_http_reply_json(request, 200, volume_json(info));
    else
        varve_http_reply_error(request, error);
}

/* --- changing ------------------------------------------------------------------------------- */

/* A merge patch (RFC 7396): what is null goes. */
static gboolean
read_patch(VarveHttpRequest *request, GHashTable **pairs, GPtrArray *removed, GError **error)
{
    void *next;
    const char *key;
    json_t *value;
    json_auto_t *body = varve_http_request_json(request, JSON_OBJECT, error);
    json_auto_t *within = json_object();
    if (body == NULL)
        return FALSE;
    json_object_foreach_safe(body, next, key, value)
    {
        if (!json_is_null(value))
            continue;
        g_ptr_array_add(removed, g_strdup(key));
        json_object_del(body, key);
    }
    g_ptr_array_add(removed, NULL);
    json_object_set(within, "meta", body);
    return varve_json_get_pairs(within, "meta", MAX_META, pairs, error);
}

static void
change_meta(VarveHttpRequest *request, const VarveHttpContext *context, gboolean replace)
{
    GError *error = NULL;
    g_autoptr(GHashTable) meta = NULL;
    g_autoptr(VarveVolumeInfo) info = NULL;
    g_autoptr(GPtrArray) removed = g_ptr_array_new_with_free_func(g_free);
    const char *id = varve_http_request_param(request, "id");
    if (read_patch(request, &meta, removed, &error))
        info = varve_volumes_set_meta(context->volumes, id, meta,
                                      replace ? NULL : (const char *const *)removed->pdata, &error);
    if (info != NULL)
        varve_http_reply_json(request, 200, volume_json(info));
    else
        varve_http_reply_error(request, error);
}

static void
replace_meta(VarveHttpRequest *request, gpointer data)
{
    change_meta(request, data, TRUE);
}

static void
patch_meta(VarveHttpRequest *request, gpointer data)
{
    change_meta(request, data, FALSE);
}

/* --- removing ------------------------------------------------------------------------------- */

static gboolean
read_others(VarveHttpRequest *request, VarveVolumesOthers *others, GError **error)
{
    gboolean recursive = g_strcmp0(varve_http_request_query(request, "recursive"), "true") == 0;
    gboolean only = g_strcmp0(varve_http_request_query(request, "only"), "true") == 0;
    *others = recursive ? VARVE_VOLUMES_RECURSIVE
              : only    ? VARVE_VOLUMES_ONLY
                        : VARVE_VOLUMES_REFUSE;
    if (!recursive || !only)
        return TRUE;
    g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                "only and recursive are opposites");
    return FALSE;
}

static void
destroy_volume(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    GError *error = NULL;
    const char *id = varve_http_request_param(request, "id");
    VarveVolumesOthers others;
    if (!read_others(request, &others, &error)) {
        varve_http_reply_error(request, error);
        return;
    }
    g_autoptr(VarveVolumeInfo) info = varve_volumes_inspect(context->volumes, id, &error);
    if (info == NULL || !varve_volumes_destroy(context->volumes, id, others, &error)) {
        varve_http_reply_error(request, error);
        return;
    }
    varve_http_publish_volume(context, "destroy", info);
    varve_http_reply_json(request, 200, NULL);
}

const VarveHttpRoute varve_http_volume_routes[] = {
    {"POST", "/storage/providers/:id/volumes", create_volume, VARVE_HTTP_DEFAULT},
    {"POST", "/storage/providers/:id/import", varve_http_import_volume, VARVE_HTTP_UPLOAD},
    {"GET", "/storage/volumes", list_volumes, VARVE_HTTP_DEFAULT},
    {"GET", "/storage/volumes/:id", get_volume, VARVE_HTTP_DEFAULT},
    {"DELETE", "/storage/volumes/:id", destroy_volume, VARVE_HTTP_DEFAULT},
    {"PUT", "/storage/volumes/:id/meta", replace_meta, VARVE_HTTP_DEFAULT},
    {"PATCH", "/storage/volumes/:id/meta", patch_meta, VARVE_HTTP_DEFAULT},
    {"PUT", "/storage/volumes/:id/snapshot", snapshot_volume, VARVE_HTTP_DEFAULT},
    {"PUT", "/storage/volumes/:id/fork", fork_volume, VARVE_HTTP_DEFAULT},
    {"GET", "/storage/volumes/:id/snapshots", list_snapshots, VARVE_HTTP_DEFAULT},
    {"GET", "/storage/volumes/:id/haves", list_haves, VARVE_HTTP_DEFAULT},
    {"GET", "/storage/volumes/:id/send", varve_http_send_volume, VARVE_HTTP_DEFAULT},
    {"GET", "/storage/volumes/:id/receive", varve_http_offer_receiving, VARVE_HTTP_DEFAULT},
    {"POST", "/storage/volumes/:id/receive", varve_http_receive_volume, VARVE_HTTP_UPLOAD},
    {"POST", "/storage/volumes/:id/pull_snapshot", varve_http_pull_snapshot, VARVE_HTTP_DEFAULT},
    {NULL},
};
