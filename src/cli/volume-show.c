/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"
#include "cli/names.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/volume.h"

/* --- one ---------------------------------------------------------------------------------------
 */

json_t *
cli_volume_to_json(const VarveVolumeInfo *info)
{
    json_t *object = json_object();
    cli_json_set(object, "id", info->id);
    cli_json_set(object, "type", info->type);
    cli_json_set(object, "provider", info->provider);
    cli_json_set(object, "driver", info->driver);
    cli_json_set(object, "key", info->key);
    cli_json_set_pairs(object, "meta", info->meta);
    cli_json_set_time(object, "created_at", info->created);
    cli_json_set_int(object, "size", info->size);
    cli_json_set(object, "path", info->path);
    json_object_set_new(object, "mounted", json_boolean(info->mounted));
    json_object_set_new(object, "holders", json_array());
    for (char **holder = info->holders; *holder != NULL; holder++)
        json_array_append_new(json_object_get(object, "holders"), json_string(*holder));
    json_object_set_new(object, "unattended", json_boolean(info->unattended));
    json_object_set_new(object, "snapshot", json_boolean(info->snapshot));
    cli_json_set(object, "of", info->of);
    cli_json_set(object, "uuid", info->uuid);
    if (info->snapshot)
        json_object_set_new(object, "atomic", json_boolean(info->atomic));
    cli_json_set(object, "parent", info->parent);
    return object;
}

static void
add_field(CliTable *table, const char *name, const char *value)
{
    if (value != NULL && *value != '\0')
        cli_table_add(table, g_strdup(name), cli_escape(value));
}

static void
print_fields(const VarveVolumeInfo *info)
{
    g_autoptr(CliTable) table = cli_table_new("|");
    add_field(table, "id", info->id);
    add_field(table, "kind", info->snapshot ? "snapshot" : "volume");
    add_field(table, "of", info->of);
    if (info->snapshot && !info->atomic)
        add_field(table, "taken", "file by file, while it could be written to");
    add_field(table, "type", info->type);
    add_field(table, "provider", info->provider);
    add_field(table, "driver", info->driver);
    add_field(table, "snapshot", info->key);
    add_field(table, "parent", info->parent);
    add_field(table, "uuid", info->uuid);
    cli_table_add(table, g_strdup("created"), cli_format_time(info->created));
    if (info->size > 0)
        cli_table_add(table, g_strdup("size"), cli_format_size(info->size));
    add_field(table, "path", info->path);
    add_field(table, "mounted", info->mounted ? "yes" : info->unattended ? "not wanted" : "no");
    for (char **holder = info->holders; *holder != NULL; holder++)
        add_field(table, "held by", *holder);
    g_autofree const char **keys = cli_sorted_keys(info->meta);
    for (gsize i = 0; keys[i] != NULL; i++) {
        g_autofree char *pair =
            g_strdup_printf("%s=%s", keys[i], (char *)g_hash_table_lookup(info->meta, keys[i]));
        add_field(table, "meta", pair);
    }
    cli_table_print(table);
}

void
cli_print_volume(const Cli *cli, const VarveVolumeInfo *info)
{
    if (cli->json)
        cli_json_print(cli_volume_to_json(info));
    else
        print_fields(info);
}

gboolean
cli_volume_inspect(const Cli *cli, char **args, GError **error)
{
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    g_autoptr(VarveVolumeInfo) info =
        volumes != NULL ? varve_volumes_inspect(volumes, args[0], error) : NULL;
    if (info == NULL)
        return FALSE;
    cli_print_volume(cli, info);
    return TRUE;
}

/* --- lists -------------------------------------------------------------------------------------
 */

static void
add_row(CliTable *table, const VarveVolumeInfo *info)
{
    gboolean full = cli_volume_options.full;
    cli_table_add(table, cli_display_name(info->id, full),
                  g_strdup(info->snapshot ? "snapshot" : "volume"), cli_escape(info->type),
                  cli_escape(info->provider),
                  info->of != NULL ? cli_display_name(info->of, full) : g_strdup("-"),
                  full ? cli_format_time(info->created) : cli_format_age(info->created),
                  info->mounted ? cli_escape(info->path) : g_strdup("-"));
}

gboolean
cli_volume_ls(const Cli *cli, char **args, GError **error)
{
    const struct CliVolumeOptions *o = &cli_volume_options;
    const VarveVolumeFilter filter = {
        .which = o->live == o->snapshots ? VARVE_VOLUMES_BOTH
                 : o->live               ? VARVE_VOLUMES_LIVE
                                         : VARVE_VOLUMES_SNAPSHOTS,
        .provider = cli->pool_name,
        .type = o->type,
        .of = o->of,
        .meta = o->meta,
    };
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    g_autoptr(GPtrArray) infos =
        volumes != NULL ? varve_volumes_list(volumes, &filter, error) : NULL;
    if (infos == NULL)
        return FALSE;
    g_autoptr(CliTable) table = cli_table_new("ID|KIND|TYPE|PROVIDER|OF|CREATED|MOUNTED");
    gsize count = 0;
    for (guint i = 0; i < infos->len; i++) {
        const VarveVolumeInfo *info = infos->pdata[i];
        if (cli_names_wanted())
            cli_names_print(info->id);
        else if (cli->json)
            cli_json_list_add(&count, cli_volume_to_json(info));
        else
            add_row(table, info);
    }
    if (cli->json && !cli_names_wanted())
        cli_json_list_end(&count);
    else if (infos->len > 0 && !cli_names_wanted())
        cli_table_print(table);
    return TRUE;
}

gboolean
cli_volume_haves(const Cli *cli, char **args, GError **error)
{
    g_autoptr(VarveVolumes) volumes = varve_volumes_open(cli->engine, error);
    g_autoptr(GPtrArray) haves =
        volumes != NULL ? varve_volumes_haves(volumes, args[0], error) : NULL;
    if (haves == NULL)
        return FALSE;
    g_autoptr(CliTable) table = cli_table_new("UUID|ID");
    gsize count = 0;
    for (guint i = 0; i < haves->len; i++) {
        const VarveVolumeHave *have = haves->pdata[i];
        if (cli_names_wanted()) {
            cli_names_print(have->uuid);
        } else if (cli->json) {
            json_t *object = json_object();
            cli_json_set(object, "uuid", have->uuid);
            cli_json_set(object, "id", have->id);
            cli_json_list_add(&count, object);
        } else {
            cli_table_add(table, cli_escape(have->uuid),
                          have->id != NULL ? cli_escape(have->id) : g_strdup("-"));
        }
    }
    if (cli->json && !cli_names_wanted())
        cli_json_list_end(&count);
    else if (haves->len > 0 && !cli_names_wanted())
        cli_table_print(table);
    return TRUE;
}
