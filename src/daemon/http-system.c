/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/http-json.h"
#include "daemon/http.h"

/* Well is whose store answers. */
static void
get_health(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    GError *error = NULL;
    g_autoptr(VarveEngineInfo) info = varve_engine_get_info(context->engine, &error);
    if (info == NULL) {
        varve_http_reply_error(request, error);
        return;
    }
    json_t *value = json_object();
    varve_http_set(value, "status", "ok");
    varve_http_reply_json(request, 200, value);
}

static json_t *
drivers_json(VarveEngine *engine)
{
    json_t *list = json_array();
    g_autoptr(GPtrArray) drivers = varve_engine_list_drivers(engine);
    for (guint i = 0; i < drivers->len; i++) {
        const VarveDriverInfo *driver = drivers->pdata[i];
        json_t *value = json_object();
        varve_http_set(value, "name", driver->name);
        varve_http_set(value, "summary", driver->summary);
        varve_http_set(value, "problem", driver->problem);
        json_array_append_new(list, value);
    }
    return list;
}

static void
get_info(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    GError *error = NULL;
    g_autoptr(VarveEngineInfo) info = varve_engine_get_info(context->engine, &error);
    if (info == NULL) {
        varve_http_reply_error(request, error);
        return;
    }
    json_t *value = json_object();
    varve_http_set(value, "version", info->version);
    varve_http_set(value, "root", info->root);
    varve_http_set(value, "uuid", info->uuid);
    varve_http_set_int(value, "schema", info->schema);
    varve_http_set_int(value, "snapshots", info->snapshots);
    varve_http_set_int(value, "pending_removals", info->pending);
    varve_http_set_int(value, "store_used", info->store_used);
    varve_http_set_int(value, "store_size", info->store_size);
    varve_http_set_int(value, "uptime_seconds",
                       (guint64)(g_get_monotonic_time() - context->started) / G_USEC_PER_SEC);
    json_object_set_new(value, "drivers", drivers_json(context->engine));
    varve_http_reply_json(request, 200, value);
}

const VarveHttpRoute varve_http_system_routes[] = {
    {"GET", "/healthz", get_health, VARVE_HTTP_UNGUARDED},
    {"GET", "/system/info", get_info, VARVE_HTTP_DEFAULT},
    {NULL},
};
