/* SPDX-License-Identifier: Apache-2.0 */
/* Docker's protocol for volume plugins, as docker and podman speak it
 * (https://docs.docker.com/engine/extend/plugins_volume/, plugin_api): each call is a POST of JSON,
 * answered with JSON, in which "Err" tells what went wrong; podman looks at that only where the
 * status is not 200. It is a server of its own, on a socket of its own. */
#include "daemon/http-json.h"
#include "daemon/http-volumes.h"
#include <string.h>

#define MAX_OPTIONS 1000
#define META        "meta."

/* --- answers -------------------------------------------------------------------------------- */

/* value is taken; an error, which is taken too, stands in its place. */
static void
answer(VarveHttpRequest *request, json_t *value, GError *error)
{
    json_t *object = error == NULL ? value : json_object();
    varve_http_set(object, "Err", error != NULL ? error->message : "");
    varve_http_reply_json(request, error == NULL ? 200 : 500, object);
    if (error != NULL)
        json_decref(value);
    g_clear_error(&error);
}

static json_t *
volume_json(const VarveVolumeInfo *info)
{
    json_t *value = json_object(), *status = json_object();
    varve_http_set(value, "Name", info->id);
    varve_http_set(value, "Mountpoint", info->mounted ? info->path : "");
    varve_http_set_time(value, "CreatedAt", info->created);
    varve_http_set(status, "provider", info->provider);
    varve_http_set(status, "driver", info->driver);
    varve_http_set(status, "type", info->type);
    varve_http_set_int(status, "size", info->size);
    json_object_set_new(status, "snapshot", json_boolean(info->snapshot));
    if (info->of != NULL)
        varve_http_set(status, "of", info->of);
    if (g_hash_table_size(info->meta) > 0)
        varve_http_set_pairs(status, "meta", info->meta);
    json_object_set_new(value, "Status", status);
    return value;
}

static json_t *
object_with(const char *key, json_t *value)
{
    json_t *object = json_object();
    json_object_set_new(object, key, value);
    return object;
}

/* --- what is asked -------------------------------------------------------------------------- */

typedef struct {
    json_t *body;
    const char *name, *id; /* the body's */
} Call;

static void
clear_call(Call *call)
{
    json_decref(call->body);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Call, clear_call)

static gboolean
read_call(VarveHttpRequest *request, gboolean with_id, Call *call, GError **error)
{
    call->body = varve_http_request_json(request, JSON_OBJECT, error);
    return call->body != NULL && varve_json_get_string(call->body, "Name", &call->name, error) &&
           (call->name != NULL || varve_json_missing("Name", error)) &&
           varve_json_get_string(call->body, "ID", &call->id, error) &&
           (!with_id || call->id != NULL || varve_json_missing("ID", error));
}

/* --- making --------------------------------------------------------------------------------- */

/* What --opt says; the strings are the table's. */
typedef struct {
    GHashTable *meta;
    const char *from; /* a snapshot to fork */
    VarveVolumeOptions options;
} Wishes;

static gboolean
set_provider(Wishes *wishes, const char *value, GError **error)
{
    wishes->options.provider = value;
    return TRUE;
}

static gboolean
set_type(Wishes *wishes, const char *value, GError **error)
{
    wishes->options.type = value;
    return TRUE;
}

static gboolean
set_from(Wishes *wishes, const char *value, GError **error)
{
    wishes->from = value;
    return TRUE;
}

static gboolean
set_size(Wishes *wishes, const char *value, GError **error)
{
    return varve_volume_size_parse(value, &wishes->options.size, error);
}

static const struct {
    const char *name;
    gboolean (*set)(Wishes *wishes, const char *value, GError **error);
} known[] = {
    {"provider", set_provider},
    {"size", set_size},
    {"type", set_type},
    {"from", set_from},
};

static gboolean
set_option(Wishes *wishes, const char *name, const char *value, GError **error)
{
    for (gsize i = 0; i < G_N_ELEMENTS(known); i++) {
        if (!g_str_equal(name, known[i].name))
            continue;
        if (known[i].set(wishes, value, error))
            return TRUE;
        g_prefix_error(error, "option '%s': ", name);
        return FALSE;
    }
    if (g_str_has_prefix(name, META)) {
        g_hash_table_replace(wishes->meta, g_strdup(name + strlen(META)), g_strdup(value));
        return TRUE;
    }
    g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                "unknown option '%s': there are provider, size, type, from=SNAPSHOT and meta.KEY",
                name);
    return FALSE;
}

static gboolean
read_wishes(GHashTable *pairs, Wishes *wishes, GError **error)
{
    GHashTableIter iter;
    gpointer name, value;
    g_hash_table_iter_init(&iter, pairs);
    while (g_hash_table_iter_next(&iter, &name, &value))
        if (!set_option(wishes, name, value, error))
            return FALSE;
    if (wishes->from == NULL || wishes->options.provider == NULL)
        return TRUE;
    g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                "options 'from' and 'provider': a fork is where its snapshot is");
    return FALSE;
}

static VarveVolumeInfo *
make(const VarveHttpContext *context, const char *name, GHashTable *pairs, GError **error)
{
    g_autoptr(GHashTable) meta = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    Wishes wishes = {.meta = meta, .options = {.id = name, .meta = meta}};
    if (!read_wishes(pairs, &wishes, error))
        return NULL;
    VarveVolumeInfo *info =
        wishes.from != NULL
            ? varve_volumes_fork(context->volumes, wishes.from, &wishes.options, error)
            : varve_volumes_create(context->volumes, &wishes.options, error);
    if (info != NULL)
        varve_http_publish_volume(context, "create", info);
    return info;
}

/* An engine makes known to itself what is there already by making it, with nothing to be told of
 * it. */
static VarveVolumeInfo *
make_or_find(const VarveHttpContext *context, const char *name, GHashTable *pairs, GError **error)
{
    g_autoptr(GError) failure = NULL;
    VarveVolumeInfo *info = make(context, name, pairs, &failure);
    if (info == NULL && g_hash_table_size(pairs) == 0 &&
        g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS))
        return varve_volumes_inspect(context->volumes, name, error);
    if (info == NULL)
        g_propagate_error(error, g_steal_pointer(&failure));
    return info;
}

static void
create(VarveHttpRequest *request, gpointer data)
{
    GError *error = NULL;
    g_auto(Call) call = {0};
    g_autoptr(GHashTable) pairs = NULL;
    g_autoptr(VarveVolumeInfo) info = NULL;
    if (read_call(request, FALSE, &call, &error) &&
        varve_json_get_pairs(call.body, "Opts", MAX_OPTIONS, &pairs, &error))
        info = make_or_find(data, call.name, pairs, &error);
    answer(request, json_object(), error);
}

static void
destroy(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    GError *error = NULL;
    g_auto(Call) call = {0};
    g_autoptr(VarveVolumeInfo) info = NULL;
    if (read_call(request, FALSE, &call, &error) &&
        (info = varve_volumes_inspect(context->volumes, call.name, &error)) != NULL &&
        varve_volumes_destroy(context->volumes, call.name, VARVE_VOLUMES_REFUSE, &error))
        varve_http_publish_volume(context, "destroy", info);
    answer(request, json_object(), error);
}

/* --- using ---------------------------------------------------------------------------------- */

static void
hold(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    GError *error = NULL;
    json_t *value = json_object();
    g_auto(Call) call = {0};
    g_autoptr(VarveVolumeInfo) info = NULL;
    if (read_call(request, TRUE, &call, &error) &&
        (info = varve_volumes_hold(context->volumes, call.name, call.id, &error)) != NULL)
        varve_http_set(value, "Mountpoint", info->path);
    answer(request, value, error);
}

static void
release(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    GError *error = NULL;
    g_auto(Call) call = {0};
    if (read_call(request, TRUE, &call, &error))
        (void)varve_volumes_release(context->volumes, call.name, call.id, &error);
    answer(request, json_object(), error);
}

/* --- looking -------------------------------------------------------------------------------- */

static void
get_path(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    GError *error = NULL;
    json_t *value = json_object();
    g_auto(Call) call = {0};
    g_autoptr(VarveVolumeInfo) info = NULL;
    if (read_call(request, FALSE, &call, &error) &&
        (info = varve_volumes_inspect(context->volumes, call.name, &error)) != NULL)
        varve_http_set(value, "Mountpoint", info->mounted ? info->path : "");
    answer(request, value, error);
}

static void
get(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    GError *error = NULL;
    json_t *value = NULL;
    g_auto(Call) call = {0};
    g_autoptr(VarveVolumeInfo) info = NULL;
    if (read_call(request, FALSE, &call, &error) &&
        (info = varve_volumes_inspect(context->volumes, call.name, &error)) != NULL)
        value = object_with("Volume", volume_json(info));
    answer(request, value, error);
}

static void
list(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    GError *error = NULL;
    g_autoptr(GPtrArray) volumes = varve_volumes_list(context->volumes, NULL, &error);
    json_t *values = json_array();
    for (guint i = 0; volumes != NULL && i < volumes->len; i++)
        json_array_append_new(values, volume_json(volumes->pdata[i]));
    answer(request, object_with("Volumes", values), error);
}

/* --- itself --------------------------------------------------------------------------------- */

static void
activate(VarveHttpRequest *request, gpointer data)
{
    json_t *kinds = json_array();
    json_array_append_new(kinds, json_string("VolumeDriver"));
    varve_http_reply_json(request, 200, object_with("Implements", kinds));
}

/* A volume is where it is: the same name on another host is another one. */
static void
get_capabilities(VarveHttpRequest *request, gpointer data)
{
    json_t *scope = object_with("Scope", json_string("local"));
    varve_http_reply_json(request, 200, object_with("Capabilities", scope));
}

const VarveHttpRoute varve_docker_routes[] = {
    {"POST", "/Plugin.Activate", activate, VARVE_HTTP_DEFAULT},
    {"POST", "/VolumeDriver.Create", create, VARVE_HTTP_DEFAULT},
    {"POST", "/VolumeDriver.Remove", destroy, VARVE_HTTP_DEFAULT},
    {"POST", "/VolumeDriver.Mount", hold, VARVE_HTTP_DEFAULT},
    {"POST", "/VolumeDriver.Unmount", release, VARVE_HTTP_DEFAULT},
    {"POST", "/VolumeDriver.Path", get_path, VARVE_HTTP_DEFAULT},
    {"POST", "/VolumeDriver.Get", get, VARVE_HTTP_DEFAULT},
    {"POST", "/VolumeDriver.List", list, VARVE_HTTP_DEFAULT},
    {"POST", "/VolumeDriver.Capabilities", get_capabilities, VARVE_HTTP_DEFAULT},
    {NULL},
};
