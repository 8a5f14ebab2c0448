/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"
#include "cli/snapshot.h"
#include <stdio.h>
#include <string.h>

/* --- how it is mounted --------------------------------------------------------------------- */

static json_t *
mount_to_json(const VarveMount *mount)
{
    json_t *object = json_object();
    cli_json_set(object, "type", mount->type);
    cli_json_set(object, "source", mount->source);
    cli_json_set_strings(object, "options", mount->options);
    return object;
}

/* Quoted for a shell where it must be. */
static char *
quote(const char *word)
{
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                               "/._-,:=@%+";
    return strspn(word, safe) == strlen(word) && *word != '\0' ? g_strdup(word)
                                                               : g_shell_quote(word);
}

static void
print_command(const VarveMount *mount)
{
    g_autofree char *all = g_strjoinv(",", mount->options);
    g_autofree char *options = quote(all), *source = quote(mount->source);
    printf("mount");
    /* mount(8) knows a bind mount by its options, which have "bind" or "rbind", not by a type. */
    if (!g_str_equal(mount->type, "bind"))
        printf(" -t %s", mount->type);
    if (*all != '\0')
        printf(" -o %s", options);
    printf(" %s\n", source);
}

void
cli_print_mount(const Cli *cli, const VarveMount *mount)
{
    if (cli->json)
        cli_json_print(json_pack("[o]", mount_to_json(mount)));
    else
        print_command(mount);
}

/* --- the verbs ----------------------------------------------------------------------------- */

gboolean
cli_snapshot_mounts(const Cli *cli, char **args, GError **error)
{
    g_autoptr(VarveMount) mount = NULL;
    if (!varve_snapshot_mounts(cli->pool, args[0], &mount, error))
        return FALSE;
    cli_print_mount(cli, mount);
    return TRUE;
}

gboolean
cli_snapshot_mount(const Cli *cli, char **args, GError **error)
{
    g_autoptr(VarveMount) mount = NULL;
    return varve_snapshot_mounts(cli->pool, args[0], &mount, error) &&
           varve_mount_attach(mount, args[1], error);
}

gboolean
cli_snapshot_umount(const Cli *cli, char **args, GError **error)
{
    return varve_mount_detach(args[0], error);
}
