/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/image.h"
#include "cli/json.h"
#include "cli/progress.h"
#include "cli/remote.h"
#include <stdio.h>
#include <string.h>

/* pull and push: images from and to registries. */

static struct {
    char *name;
    char **platforms;
    gboolean all_platforms, unpack;
} option;

const GOptionEntry cli_image_pull_options[] = {
    {"name", 'n', 0, G_OPTION_ARG_FILENAME, &option.name,
     "what the image is to be called here, if not as there", "NAME"},
    {"platform", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &option.platforms,
     "fetch it for this platform; may be given several times", "PLATFORM"},
    {"all-platforms", 0, 0, G_OPTION_ARG_NONE, &option.all_platforms,
     "fetch it for all that it is made for", NULL},
    {"unpack", 0, 0, G_OPTION_ARG_NONE, &option.unpack,
     "unpack its layers into a pool while they come", NULL},
    CLI_MIRROR_OPTION,
    CLI_JOBS_OPTION,
    CLI_REMOTE_OPTIONS,
    {NULL},
};

const GOptionEntry cli_image_push_options[] = {
    {"platform", 0, 0, G_OPTION_ARG_FILENAME, &cli_image_options.platform,
     "only the image for this platform", "PLATFORM"},
    CLI_JOBS_OPTION,
    CLI_REMOTE_OPTIONS,
    {NULL},
};

/* --- pull ---------------------------------------------------------------------------------- */

/* An array that ends with NULL; NULL when the option is not given. */
static gboolean
read_platforms(GPtrArray **platforms, GError **error)
{
    char **text = option.platforms;
    if (text == NULL)
        return TRUE;
    if (option.all_platforms)
        return cli_usage_error(error, "--platform and --all-platforms exclude each other");
    *platforms = g_ptr_array_new_with_free_func((GDestroyNotify)varve_platform_free);
    for (; *text != NULL; text++) {
        VarvePlatform *platform = varve_platform_parse(*text, error);
        if (platform == NULL)
            return FALSE;
        g_ptr_array_add(*platforms, platform);
    }
    g_ptr_array_add(*platforms, NULL);
    return TRUE;
}

/* The pool is needed only now. */
static VarveImageInfo *
pull_unpack(const Cli *cli, VarveImages *images, const char *name, const VarveImagePull *wish,
            VarveImageMoved *moved, VarveImageUnpacked *unpacked, GError **error)
{
    VarvePool *pool = varve_engine_get_pool(cli->engine, cli->pool_name, error);
    if (pool == NULL)
        cli->outcome->hint = "'varve pool ls' lists the pools";
    return pool != NULL ? varve_images_pull_unpack(images, pool, name, wish, moved, unpacked, error)
                        : NULL;
}

gboolean
cli_image_pull(const Cli *cli, char **args, GError **error)
{
    g_auto(CliRemote) remote = {0};
    g_autoptr(GPtrArray) platforms = NULL;
    g_auto(VarveImageMoved) moved = {0};
    g_auto(VarveImageUnpacked) unpacked = {0};
    if (!read_platforms(&platforms, error) || !cli_remote_read(&remote, error))
        return FALSE;
    g_autoptr(VarveImages) images = varve_images_open(cli->engine, error);
    if (images == NULL)
        return FALSE;
    const VarveImagePull wish = {
        .platforms = platforms != NULL ? (const VarvePlatform *const *)platforms->pdata : NULL,
        .all_platforms = option.all_platforms,
        .name = option.name,
        .remote = remote.remote,
    };
    g_autoptr(CliProgress) progress = cli_progress_new(cli, images, cli_remote_options.progress);
    VarveImageInfo *info = option.unpack
                               ? pull_unpack(cli, images, args[0], &wish, &moved, &unpacked, error)
                               : varve_images_pull(images, args[0], &wish, &moved, error);
    if (info == NULL)
        return FALSE;
    g_autoptr(GPtrArray) infos =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_image_info_free);
    g_ptr_array_add(infos, info);
    cli_progress_sum_up(progress, "fetched", &moved);
    if (option.unpack)
        cli_print_unpacked(cli, &unpacked);
    else
        cli_print_images(cli, infos);
    return TRUE;
}

/* --- push ---------------------------------------------------------------------------------- */

/* What anybody can pull from now on, whatever becomes of the tag. */
static void
print_pushed(const Cli *cli, const VarveImageMoved *moved)
{
    if (!cli->json) {
        const char *slash = strrchr(moved->name, '/');
        gsize n = (gsize)(slash - moved->name) + strcspn(slash, ":@");
        printf("%.*s@%s\n", (int)n, moved->name, moved->digest);
        return;
    }
    json_t *object = json_object();
    cli_json_set(object, "name", moved->name);
    cli_json_set(object, "digest", moved->digest);
    cli_json_set_int(object, "items", moved->items);
    cli_json_set_int(object, "moved", moved->moved);
    cli_json_set_int(object, "present", moved->present);
    cli_json_set_int(object, "mounted", moved->mounted);
    cli_json_set_int(object, "skipped", moved->skipped);
    cli_json_set_int(object, "bytes", moved->bytes);
    cli_json_print(object);
}

gboolean
cli_image_push(const Cli *cli, char **args, GError **error)
{
    g_auto(CliRemote) remote = {0};
    g_auto(VarveImageMoved) moved = {0};
    g_autoptr(VarvePlatform) platform = NULL;
    if (!cli_image_platform(&platform, error) || !cli_remote_read(&remote, error))
        return FALSE;
    g_autoptr(VarveImages) images = varve_images_open(cli->engine, error);
    if (images == NULL)
        return FALSE;
    const VarveImagePush wish = {.platform = platform, .remote = remote.remote};
    g_autoptr(CliProgress) progress = cli_progress_new(cli, images, cli_remote_options.progress);
    if (!varve_images_push(images, args[0], args[1], &wish, &moved, error))
        return FALSE;
    cli_progress_sum_up(progress, "pushed", &moved);
    print_pushed(cli, &moved);
    return TRUE;
}
