/* SPDX-License-Identifier: Apache-2.0 */
/* Providers of volumes, as Flynn calls them (host/volume/api in flynn): a pool is one. */
#include "daemon/http-json.h"
#include "daemon/http.h"

#define MAX_SETTINGS 100

static json_t *
pool_json(const VarvePoolInfo *info)
{
    json_t *value = json_object();
    varve_http_set(value, "id", info->name);
    varve_http_set(value, "kind", info->driver);
    varve_http_set_pairs(value, "config", info->settings);
    varve_http_set(value, "path", info->path);
    varve_http_set_time(value, "created_at", info->created);
    varve_http_set_int(value, "snapshots", info->snapshots);
    varve_http_set_int(value, "size", info->size);
    varve_http_set_int(value, "free", info->free);
    varve_http_set(value, "problem", info->problem);
    return value;
}

static void
list_pools(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    GError *error = NULL;
    g_autoptr(GPtrArray) pools = varve_engine_list_pools(context->engine, &error);
    if (pools == NULL) {
        varve_http_reply_error(request, error);
        return;
    }
    json_t *list = json_array();
    for (guint i = 0; i < pools->len; i++)
        json_array_append_new(list, pool_json(pools->pdata[i]));
    varve_http_reply_json(request, 200, list);
}

static void
reply_pool(VarveHttpRequest *request, const VarveHttpContext *context, const char *id)
{
    GError *error = NULL;
    g_autoptr(VarvePoolInfo) info = varve_engine_inspect_pool(context->engine, id, &error);
    if (info != NULL)
        varve_http_reply_json(request, 200, pool_json(info));
    else
        varve_http_reply_error(request, error);
}

static void
get_pool(VarveHttpRequest *request, gpointer data)
{
    reply_pool(request, data, varve_http_request_param(request, "id"));
}

/* To Flynn's clients an unknown kind is a request that is wrong, not something that is missing. */
static void
judge_kind(const char *kind, GError *error)
{
    g_autoptr(GPtrArray) drivers = varve_engine_list_drivers(NULL);
    if (!g_error_matches(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND) || drivers == NULL)
        return;
    for (guint i = 0; i < drivers->len; i++)
        if (g_str_equal(((const VarveDriverInfo *)drivers->pdata[i])->name, kind))
            return;
    error->code = VARVE_ERROR_INVALID_ARGUMENT;
    g_prefix_error(&error, "kind: ");
}

/* {"id", "kind", "config"}; an id is made where there is none. */
static char *
make_pool(VarveHttpRequest *request, const VarveHttpContext *context, GError **error)
{
    const char *id = NULL, *kind = NULL;
    g_autoptr(GHashTable) settings = NULL;
    json_auto_t *body = varve_http_request_json(request, JSON_OBJECT, error);
    if (body == NULL || !varve_json_get_string(body, "id", &id, error) ||
        !varve_json_get_string(body, "kind", &kind, error) ||
        !varve_json_get_pairs(body, "config", MAX_SETTINGS, &settings, error))
        return NULL;
    char *name = id != NULL && *id != '\0' ? g_strdup(id) : g_uuid_string_random();
    GError *cause = NULL;
    if (varve_engine_create_pool(context->engine, name, kind != NULL ? kind : "", settings, &cause))
        return name;
    judge_kind(kind != NULL ? kind : "", cause);
    g_propagate_error(error, cause);
    g_free(name);
    return NULL;
}

static void
add_pool(VarveHttpRequest *request, gpointer data)
{
    GError *error = NULL;
    g_autofree char *id = make_pool(request, data, &error);
    if (id != NULL)
        reply_pool(request, data, id);
    else
        varve_http_reply_error(request, error);
}

const VarveHttpRoute varve_http_pool_routes[] = {
    {"GET", "/storage/providers", list_pools, VARVE_HTTP_DEFAULT},
    {"POST", "/storage/providers", add_pool, VARVE_HTTP_DEFAULT},
    {"GET", "/storage/providers/:id", get_pool, VARVE_HTTP_DEFAULT},
    {NULL},
};
