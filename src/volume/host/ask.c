/* SPDX-License-Identifier: Apache-2.0 */
#include "base/module.h"
#include "volume/host/internal.h"

#define MAX_META      1000
#define MAX_WAIT      30 /* seconds between attempts */
#define MOST_ATTEMPTS 5
#define NANOSECONDS   1000000000

/* --- a host ----------------------------------------------------------------------------------- */

VarveHost *
varve_host_open(const VarveHosts *hosts, const char *name, VarveEngine *engine, GError **error)
{
    const VarveHostEntry *entry = varve_hosts_find(hosts, name, error);
    const VarveHttpClientFunctions *http =
        entry != NULL ? varve_module_load("http", "what speaks to other hosts", error) : NULL;
    if (http == NULL)
        return NULL;
    VarveHost *host = g_new0(VarveHost, 1);
    host->engine = engine;
    host->http = http;
    host->entry = varve_host_entry_copy(entry);
    const VarveHttpClientPeer peer = {.name = host->entry->name,
                                      .address = host->entry->address,
                                      .ca = host->entry->ca,
                                      .certificate = host->entry->certificate,
                                      .key = host->entry->key,
                                      .token_file = host->entry->token_file,
                                      .idle_seconds = host->entry->timeout};
    host->client = http->open(&peer, &engine->cancelled, error);
    if (host->client != NULL)
        return host;
    varve_host_close(host);
    return NULL;
}

void
varve_host_close(VarveHost *host)
{
    if (host == NULL)
        return;
    host->http->close(host->client);
    varve_host_entry_free(host->entry);
    g_free(host);
}

const char *
varve_host_get_name(const VarveHost *host)
{
    return host->entry->name;
}

/* --- volumes as JSON -------------------------------------------------------------------------- */

char *
varve_host_path(const char *id, const char *rest)
{
    g_autofree char *escaped = g_uri_escape_string(id, NULL, FALSE);
    return g_strconcat("/storage/volumes/", escaped, rest, NULL);
}

static gint64
read_time(const char *text)
{
    g_autoptr(GDateTime) time = text != NULL ? g_date_time_new_from_iso8601(text, NULL) : NULL;
    if (time == NULL)
        return 0;
    return g_date_time_to_unix(time) * NANOSECONDS +
           (gint64)g_date_time_get_microsecond(time) * (NANOSECONDS / G_USEC_PER_SEC);
}

static gboolean
fill_volume(VarveVolumeInfo *info, const json_t *value, GError **error)
{
    gint64 size = 0;
    const char *created = NULL;
    const struct {
        const char *key;
        char **field;
    } texts[] = {{"id", &info->id},         {"type", &info->type}, {"provider", &info->provider},
                 {"driver", &info->driver}, {"path", &info->path}, {"of", &info->of},
                 {"uuid", &info->uuid}};
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        const char *text = NULL;
        if (!varve_json_get_string(value, texts[i].key, &text, error))
            return FALSE;
        *texts[i].field = g_strdup(text);
    }
    if (!varve_json_get_pairs(value, "meta", MAX_META, &info->meta, error) ||
        !varve_json_get_string(value, "created_at", &created, error) ||
        !varve_json_get_integer(value, "size", 0, G_MAXINT64, &size, error) ||
        !varve_json_get_boolean(value, "mounted", &info->mounted, error) ||
        !varve_json_get_boolean(value, "snapshot", &info->snapshot, error) ||
        !varve_json_get_boolean(value, "atomic", &info->atomic, error))
        return FALSE;
    info->created = read_time(created);
    info->size = (guint64)size;
    return info->id != NULL ? varve_volume_id_check(info->id, error)
                            : varve_json_missing("id", error);
}

gboolean
varve_host_misread(const VarveHost *host, GError **error)
{
    if (error != NULL && *error != NULL)
        (*error)->code = VARVE_ERROR_CORRUPT; /* it is not the caller's argument */
    g_prefix_error(error, "host '%s': its answer: ", host->entry->name);
    return FALSE;
}

VarveVolumeInfo *
varve_host_read_volume(const VarveHost *host, const json_t *value, GError **error)
{
    g_autoptr(VarveVolumeInfo) info = g_new0(VarveVolumeInfo, 1);
    if (fill_volume(info, value, error))
        return g_steal_pointer(&info);
    varve_host_misread(host, error);
    return NULL;
}

/* --- asking ----------------------------------------------------------------------------------- */

static VarveVolumeInfo *
ask_volume(VarveHost *host, const char *method, const char *path, GError **error)
{
    json_auto_t *value = host->http->call(host->client, method, path, NULL, error);
    return value != NULL ? varve_host_read_volume(host, value, error) : NULL;
}

VarveVolumeInfo *
varve_host_inspect(VarveHost *host, const char *id, GError **error)
{
    g_autofree char *path = varve_host_path(id, "");
    return ask_volume(host, "GET", path, error);
}

VarveVolumeInfo *
varve_host_snapshot(VarveHost *host, const char *id, GError **error)
{
    g_autofree char *path = varve_host_path(id, "/snapshot");
    return ask_volume(host, "PUT", path, error);
}

static int
newest_first(gconstpointer a, gconstpointer b)
{
    gint64 x = (*(const VarveVolumeInfo *const *)a)->created;
    gint64 y = (*(const VarveVolumeInfo *const *)b)->created;
    return x > y ? -1 : x < y;
}

void
varve_host_sort(GPtrArray *list)
{
    g_ptr_array_sort(list, newest_first);
}

GPtrArray *
varve_host_snapshots(VarveHost *host, const char *id, GError **error)
{
    g_autofree char *path = varve_host_path(id, "/snapshots");
    g_autoptr(GPtrArray) list =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_volume_info_free);
    json_auto_t *value = host->http->call(host->client, "GET", path, NULL, error);
    if (value == NULL)
        return NULL;
    for (gsize i = 0; i < json_array_size(value); i++) {
        VarveVolumeInfo *info = varve_host_read_volume(host, json_array_get(value, i), error);
        if (info == NULL)
            return NULL;
        g_ptr_array_add(list, info);
    }
    varve_host_sort(list);
    return g_steal_pointer(&list);
}

VarveVolumeInfo *
varve_host_choose(VarveHost *host, const char *id, gboolean take, GError **error)
{
    if (take)
        return varve_host_snapshot(host, id, error);
    g_autoptr(VarveVolumeInfo) info = varve_host_inspect(host, id, error);
    if (info == NULL || info->snapshot)
        return g_steal_pointer(&info);
    g_autoptr(GPtrArray) snapshots = varve_host_snapshots(host, id, error);
    if (snapshots == NULL)
        return NULL;
    if (snapshots->len > 0)
        return varve_host_inspect(host, ((VarveVolumeInfo *)snapshots->pdata[0])->id, error);
    varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                    "volume '%s' of host '%s' has no snapshot yet, and only snapshots can be sent",
                    id, host->entry->name);
    return NULL;
}

gboolean
varve_host_destroy(VarveHost *host, const char *id, VarveVolumesOthers others, GError **error)
{
    static const char *const queries[] = {[VARVE_VOLUMES_REFUSE] = "",
                                          [VARVE_VOLUMES_RECURSIVE] = "?recursive=true",
                                          [VARVE_VOLUMES_ONLY] = "?only=true"};
    g_autofree char *path = varve_host_path(id, queries[others]);
    json_auto_t *value = host->http->call(host->client, "DELETE", path, NULL, error);
    return value != NULL;
}

/* --- attempts --------------------------------------------------------------------------------- */

static gboolean
wait_seconds(VarveHost *host, guint seconds, GError **error)
{
    gint64 until = g_get_monotonic_time() + (gint64)seconds * G_USEC_PER_SEC;
    while (g_get_monotonic_time() < until) {
        if (!varve_check_cancelled(&host->engine->cancelled, error))
            return FALSE;
        g_usleep(G_USEC_PER_SEC / 20);
    }
    return TRUE;
}

gboolean
varve_host_attempt_again(VarveHostAttempts *attempts, guint64 came, gboolean busy_helps,
                         GError **error)
{
    const VarveHostOptions *options = attempts->options;
    guint most = options->attempts > 0 ? options->attempts : MOST_ATTEMPTS;
    GError *why = error != NULL ? *error : NULL;
    gboolean helps = g_error_matches(why, VARVE_ERROR, VARVE_ERROR_UNAVAILABLE) ||
                     (busy_helps && g_error_matches(why, VARVE_ERROR, VARVE_ERROR_BUSY));
    if (!helps)
        return FALSE;
    attempts->failures = came > attempts->came ? 1 : attempts->failures + 1;
    attempts->came = MAX(attempts->came, came);
    if (attempts->failures >= most)
        return FALSE;
    guint seconds = MIN(1U << (attempts->failures - 1), MAX_WAIT);
    if (options->retry != NULL)
        options->retry(why, seconds, options->data);
    GError *cancelled = NULL;
    gboolean waited = wait_seconds(attempts->host, seconds, &cancelled);
    g_clear_error(error);
    if (!waited)
        g_propagate_error(error, cancelled);
    return waited;
}
