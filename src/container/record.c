/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "container/internal.h"
#include <stdlib.h>

#define RECORD     "container.json"
#define MAX_RECORD (16 << 20)
#define MAX_ITEMS  65536

void
varve_container_info_clear(VarveContainerInfo *info)
{
    g_free(info->id);
    g_free(info->image);
    g_free(info->image_digest);
    g_free(info->pool);
    g_free(info->snapshot);
    g_free(info->state);
    g_strfreev(info->command);
    g_clear_pointer(&info->labels, g_hash_table_unref);
}

void
varve_container_record_free(VarveContainerRecord *record)
{
    if (record == NULL)
        return;
    varve_container_info_clear(&record->info);
    g_free(record->runtime);
    g_free(record->cgroup);
    g_free(record);
}

/* --- out ---------------------------------------------------------------------------------- */

static json_t *
pairs_to_json(GHashTable *pairs)
{
    json_t *object = json_object();
    GHashTableIter iter;
    gpointer key, value;
    if (pairs == NULL)
        return object;
    g_hash_table_iter_init(&iter, pairs);
    while (g_hash_table_iter_next(&iter, &key, &value))
        json_object_set_new(object, key, json_string(value));
    return object;
}

gboolean
varve_container_record_write(const VarveBundle *bundle, const VarveContainerRecord *record,
                             GError **error)
{
    const VarveContainerInfo *info = &record->info;
    json_t *command = json_array();
    for (char **word = info->command; word != NULL && *word != NULL; word++)
        json_array_append_new(command, json_string(*word));
    json_auto_t *object = json_pack(
        "{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:b, s:o, s:o}", "image", info->image,
        "image_digest", info->image_digest, "pool", info->pool, "snapshot", info->snapshot,
        "runtime", record->runtime, "cgroup", record->cgroup, "created", (json_int_t)info->created,
        "finished", (json_int_t)info->finished, "exit_status", info->exit_status, "remove",
        info->remove, "command", command, "labels", pairs_to_json(info->labels));
    char *text = object != NULL ? json_dumps(object, JSON_INDENT(2)) : NULL;
    gboolean done = text != NULL ? varve_bundle_write(bundle, RECORD, text, 0600, error)
                                 : varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                                                   "%s: a name is no UTF-8", RECORD);
    free(text);
    return done;
}

/* --- in ----------------------------------------------------------------------------------- */

static gboolean
get_text(const json_t *object, const char *key, char **text, GError **error)
{
    const char *value = NULL;
    if (!varve_json_get_string(object, key, &value, error))
        return FALSE;
    if (value == NULL)
        return varve_json_missing(key, error);
    *text = g_strdup(value);
    return TRUE;
}

static gboolean
parse(const json_t *object, VarveContainerRecord *record, GError **error)
{
    VarveContainerInfo *info = &record->info;
    gint64 exit_status = -1;
    gboolean done =
        get_text(object, "image", &info->image, error) &&
        get_text(object, "image_digest", &info->image_digest, error) &&
        get_text(object, "pool", &info->pool, error) &&
        get_text(object, "snapshot", &info->snapshot, error) &&
        get_text(object, "runtime", &record->runtime, error) &&
        get_text(object, "cgroup", &record->cgroup, error) &&
        varve_json_get_integer(object, "created", 0, G_MAXINT64, &info->created, error) &&
        varve_json_get_integer(object, "finished", 0, G_MAXINT64, &info->finished, error) &&
        varve_json_get_integer(object, "exit_status", -1, 255, &exit_status, error) &&
        varve_json_get_boolean(object, "remove", &info->remove, error) &&
        varve_json_get_strings(object, "command", MAX_ITEMS, &info->command, error) &&
        varve_json_get_pairs(object, "labels", MAX_ITEMS, &info->labels, error);
    info->exit_status = (int)exit_status;
    return done;
}

VarveContainerRecord *
varve_container_record_read(const VarveBundle *bundle, GError **error)
{
    gsize size;
    g_autofree char *text = varve_bundle_read(bundle, RECORD, MAX_RECORD, &size, error);
    json_auto_t *object =
        text != NULL ? varve_json_parse(text, size, MAX_RECORD, JSON_OBJECT, error) : NULL;
    if (text != NULL && object == NULL)
        g_prefix_error(error, "%s: ", RECORD);
    if (object == NULL)
        return NULL;
    g_autoptr(VarveContainerRecord) record = g_new0(VarveContainerRecord, 1);
    if (!parse(object, record, error)) {
        g_prefix_error(error, "%s: ", RECORD);
        return NULL;
    }
    if (record->info.command == NULL)
        record->info.command = g_new0(char *, 1);
    return g_steal_pointer(&record);
}
