/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus' text format, version 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). */
#include "daemon/http.h"

static void
add_head(GString *text, const char *name, const char *type, const char *help)
{
    g_string_append_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void
add_figure(GString *text, const char *name, const char *type, const char *help, guint64 value)
{
    add_head(text, name, type, help);
    g_string_append_printf(text, "%s %" G_GUINT64_FORMAT "\n", name, value);
}

/* --- requests ------------------------------------------------------------------------------- */

static void
add_statuses(GString *text, GArray *routes)
{
    add_head(text, "varve_http_requests_total", "counter",
             "Requests by route and class of status.");
    for (guint i = 0; i < routes->len; i++) {
        const VarveHttpRouteStats *route = &g_array_index(routes, VarveHttpRouteStats, i);
        for (gsize j = 1; j < G_N_ELEMENTS(route->statuses); j++) {
            if (route->statuses[j] > 0)
                g_string_append_printf(text,
                                       "varve_http_requests_total{method=\"%s\",route=\"%s\","
                                       "status=\"%zuxx\"} %" G_GUINT64_FORMAT "\n",
                                       route->method, route->pattern, j, route->statuses[j]);
        }
    }
}

static void
add_latency(GString *text, const VarveHttpRouteStats *route)
{
    static const char name[] = "varve_http_request_seconds";
    char bound[G_ASCII_DTOSTR_BUF_SIZE];
    guint64 all = 0, within = 0;
    g_autofree char *labels =
        g_strdup_printf("method=\"%s\",route=\"%s\"", route->method, route->pattern);
    for (gsize i = 0; i < G_N_ELEMENTS(route->statuses); i++)
        all += route->statuses[i];
    for (gsize i = 0; i < VARVE_HTTP_BUCKETS; i++) {
        within += route->buckets[i];
        g_ascii_formatd(bound, sizeof(bound), "%g", (double)varve_http_buckets[i] / 1e6);
        g_string_append_printf(text, "%s_bucket{%s,le=\"%s\"} %" G_GUINT64_FORMAT "\n", name,
                               labels, bound, within);
    }
    g_string_append_printf(text, "%s_bucket{%s,le=\"+Inf\"} %" G_GUINT64_FORMAT "\n", name, labels,
                           all);
    g_ascii_formatd(bound, sizeof(bound), "%.6f", (double)route->microseconds / 1e6);
    g_string_append_printf(text, "%s_sum{%s} %s\n%s_count{%s} %" G_GUINT64_FORMAT "\n", name,
                           labels, bound, name, labels, all);
}

static void
add_routes(GString *text, VarveHttpServer *server)
{
    g_autoptr(GArray) routes = varve_http_server_route_stats(server);
    add_statuses(text, routes);
    add_head(text, "varve_http_request_seconds", "histogram",
             "Time from a request's head to its answer's.");
    for (guint i = 0; i < routes->len; i++)
        add_latency(text, &g_array_index(routes, VarveHttpRouteStats, i));
}

static void
add_errors(GString *text, const VarveHttpStats *stats)
{
    add_head(text, "varve_http_errors_total", "counter", "Errors that were answered, by code.");
    for (guint i = 0; i < G_N_ELEMENTS(stats->errors); i++) {
        GError error = {VARVE_ERROR, (gint)i, NULL};
        g_string_append_printf(text, "varve_http_errors_total{code=\"%s\"} %" G_GUINT64_FORMAT "\n",
                               varve_error_name(&error), stats->errors[i]);
    }
}

static void
add_http(GString *text, const VarveHttpStats *stats)
{
    add_figure(text, "varve_http_connections", "gauge", "Connections now.", stats->connections);
    add_figure(text, "varve_http_connections_total", "counter", "Connections ever.",
               stats->accepted);
    add_figure(text, "varve_http_active_requests", "gauge", "Requests that are worked on.",
               stats->active);
    add_figure(text, "varve_http_received_bytes_total", "counter", "Bytes of requests' bodies.",
               stats->bytes_in);
    add_figure(text, "varve_http_sent_bytes_total", "counter", "Bytes of answers' bodies.",
               stats->bytes_out);
    add_figure(text, "varve_http_cut_total", "counter", "Connections that sent too slowly.",
               stats->cut);
    add_figure(text, "varve_http_refused_total", "counter",
               "Requests without a certificate or token that is good.", stats->refused);
    add_figure(text, "varve_http_event_listeners", "gauge", "Listeners to events now.",
               stats->listeners);
    add_figure(text, "varve_http_events_total", "counter", "Events sent, to each listener.",
               stats->events);
    add_figure(text, "varve_http_events_lost_total", "counter",
               "Events that listeners were too slow for.", stats->lost);
}

/* --- the rest ------------------------------------------------------------------------------- */

static void
add_grpc(GString *text, VarveGrpcServer *grpc)
{
    VarveGrpcStats stats;
    varve_grpc_server_stats(grpc, &stats);
    add_figure(text, "varve_grpc_connections_total", "counter", "Connections of containerd ever.",
               stats.connections);
    add_figure(text, "varve_grpc_calls_total", "counter", "Calls of containerd.", stats.calls);
    add_figure(text, "varve_grpc_active_calls", "gauge", "Calls that are worked on or wait.",
               stats.active_calls);
}

/* A pool's name may have what a label's value must not. */
static void
add_pool_figure(GString *text, const char *name, const char *help, GPtrArray *pools, gsize offset)
{
    add_head(text, name, "gauge", help);
    for (guint i = 0; i < pools->len; i++) {
        const VarvePoolInfo *pool = pools->pdata[i];
        g_auto(GStrv) parts = g_strsplit_set(pool->name, "\"\\\n", -1);
        g_autofree char *plain = g_strjoinv("_", parts);
        g_string_append_printf(text, "%s{pool=\"%s\",driver=\"%s\"} %" G_GUINT64_FORMAT "\n", name,
                               plain, pool->driver, G_STRUCT_MEMBER(guint64, pool, offset));
    }
}

static gboolean
add_engine(GString *text, VarveEngine *engine, GError **error)
{
    g_autoptr(VarveEngineInfo) info = varve_engine_get_info(engine, error);
    g_autoptr(GPtrArray) pools = info != NULL ? varve_engine_list_pools(engine, error) : NULL;
    if (pools == NULL)
        return FALSE;
    add_figure(text, "varve_snapshots", "gauge", "Snapshots of all kinds.", info->snapshots);
    add_figure(text, "varve_pending_removals", "gauge", "Removals whose files are still to go.",
               info->pending);
    add_figure(text, "varve_store_used_bytes", "gauge", "Bytes of the metadata store.",
               info->store_used);
    add_pool_figure(text, "varve_pool_size_bytes", "Bytes of the file system under a pool.", pools,
                    G_STRUCT_OFFSET(VarvePoolInfo, size));
    add_pool_figure(text, "varve_pool_free_bytes", "Bytes that are free on it.", pools,
                    G_STRUCT_OFFSET(VarvePoolInfo, free));
    add_pool_figure(text, "varve_pool_snapshots", "Snapshots in a pool.", pools,
                    G_STRUCT_OFFSET(VarvePoolInfo, snapshots));
    return TRUE;
}

static void
get_metrics(VarveHttpRequest *request, gpointer data)
{
    const VarveHttpContext *context = data;
    VarveHttpStats stats;
    GError *error = NULL;
    g_autoptr(GString) text = g_string_new(NULL);
    if (!add_engine(text, context->engine, &error)) {
        varve_http_reply_error(request, error);
        return;
    }
    varve_http_server_stats(context->server, &stats);
    add_http(text, &stats);
    add_errors(text, &stats);
    add_routes(text, context->server);
    add_grpc(text, context->grpc);
    varve_http_reply_text(request, "text/plain; version=0.0.4",
                          g_string_free(g_steal_pointer(&text), FALSE));
}

const VarveHttpRoute varve_http_metrics_routes[] = {
    {"GET", "/metrics", get_metrics, VARVE_HTTP_DEFAULT},
    {NULL},
};
