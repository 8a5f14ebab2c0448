/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/image.h"
#include "cli/json.h"
#include "cli/progress.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* pull and push: images from and to registries. */

#define MAX_JOBS     64
#define MAX_PASSWORD 65536 /* bytes of the file that has it; tokens can be long */

static struct {
    char *name, *ca, *certs, *creds, *password_file, *auth_file;
    char **platforms, **mirrors;
    gboolean all_platforms, unpack, plain_http, progress;
    gint jobs, retries;
} option = {.retries = -1};

#define REMOTE_OPTIONS                                                                             \
    {"creds",                                                                                      \
     0,                                                                                            \
     0,                                                                                            \
     G_OPTION_ARG_FILENAME,                                                                        \
     &option.creds,                                                                                \
     "who to be there; others on this machine can see a password here",                            \
     "USER[:PASSWORD]"},                                                                           \
        {"password-file",                                                                          \
         0,                                                                                        \
         0,                                                                                        \
         G_OPTION_ARG_FILENAME,                                                                    \
         &option.password_file,                                                                    \
         "where the password is, in the first line; - is standard input",                          \
         "FILE"},                                                                                  \
        {"auth-file",                                                                              \
         0,                                                                                        \
         0,                                                                                        \
         G_OPTION_ARG_FILENAME,                                                                    \
         &option.auth_file,                                                                        \
         "Docker's configuration, with credentials (default: ~/.docker/config.json)",              \
         "FILE"},                                                                                  \
        {"plain-http",                                                                             \
         0,                                                                                        \
         0,                                                                                        \
         G_OPTION_ARG_NONE,                                                                        \
         &option.plain_http,                                                                       \
         "the registry may be spoken to without TLS",                                              \
         NULL},                                                                                    \
        {"ca",       0,                                                                            \
         0,          G_OPTION_ARG_FILENAME,                                                        \
         &option.ca, "certificates that are trusted beside the system's",                          \
         "FILE"},                                                                                  \
        {"certs",                                                                                  \
         0,                                                                                        \
         0,                                                                                        \
         G_OPTION_ARG_FILENAME,                                                                    \
         &option.certs,                                                                            \
         "certificates by host (default: /etc/docker/certs.d)",                                    \
         "DIR"},                                                                                   \
        {"jobs", 'j', 0, G_OPTION_ARG_INT, &option.jobs, "blobs at the same time (default: 3)",    \
         "N"},                                                                                     \
        {"retries",                                                                                \
         0,                                                                                        \
         0,                                                                                        \
         G_OPTION_ARG_INT,                                                                         \
         &option.retries,                                                                          \
         "how often in succession to try again (default: 5)",                                      \
         "N"},                                                                                     \
    {                                                                                              \
        "progress", 0, 0, G_OPTION_ARG_NONE, &option.progress,                                     \
            "tell each step on standard error, with --json as JSON", NULL                          \
    }

const GOptionEntry cli_image_pull_options[] = {
    {"name", 'n', 0, G_OPTION_ARG_FILENAME, &option.name,
     "what the image is to be called here, if not as there", "NAME"},
    {"platform", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &option.platforms,
     "fetch it for this platform; may be given several times", "PLATFORM"},
    {"all-platforms", 0, 0, G_OPTION_ARG_NONE, &option.all_platforms,
     "fetch it for all that it is made for", NULL},
    {"unpack", 0, 0, G_OPTION_ARG_NONE, &option.unpack,
     "unpack its layers into a pool while they come", NULL},
    {"mirror", 0, 0, G_OPTION_ARG_FILENAME_ARRAY, &option.mirrors,
     "try this first; may be given several times", "HOST[:PORT][/PATH]"},
    REMOTE_OPTIONS,
    {NULL},
};

const GOptionEntry cli_image_push_options[] = {
    {"platform", 0, 0, G_OPTION_ARG_FILENAME, &cli_image_options.platform,
     "only the image for this platform", "PLATFORM"},
    REMOTE_OPTIONS,
    {NULL},
};

/* --- credentials --------------------------------------------------------------------------- */

static void
secret_free(char *secret)
{
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    g_free(secret);
}

static gboolean
open_password_file(int *fd, GError **error)
{
    gboolean standard = g_str_equal(option.password_file, "-");
    *fd = standard ? dup(STDIN_FILENO) : open(option.password_file, O_RDONLY | O_CLOEXEC);
    return *fd >= 0 || cli_usage_error(error, "--password-file '%s' cannot be opened: %s",
                                       option.password_file, g_strerror(errno));
}

/* The first line of the file. */
static gboolean
read_password(char **password, GError **error)
{
    int fd;
    gsize size = 0;
    ssize_t n = 1;
    if (!open_password_file(&fd, error))
        return FALSE;
    char *text = g_malloc0(MAX_PASSWORD + 1);
    while (n > 0 && size < MAX_PASSWORD) {
        n = read(fd, text + size, MAX_PASSWORD - size);
        size += n > 0 ? (gsize)n : 0;
    }
    close(fd);
    text[strcspn(text, "\r\n")] = '\0';
    if (n == 0 && *text != '\0') {
        *password = text;
        return TRUE;
    }
    secret_free(text);
    return cli_usage_error(error, "--password-file '%s' has no password in its first line",
                           option.password_file);
}

static gboolean
read_credentials(char **user, char **password, GError **error)
{
    const char *colon = option.creds != NULL ? strchr(option.creds, ':') : NULL;
    if (option.creds == NULL)
        return option.password_file == NULL ||
               cli_usage_error(error, "--password-file needs --creds USER");
    if (colon != NULL && option.password_file != NULL)
        return cli_usage_error(error, "--creds has a password, and so has --password-file");
    if (colon == NULL && option.password_file == NULL)
        return cli_usage_error(error, "--creds has no password: --password-file says where it is");
    *user = colon != NULL ? g_strndup(option.creds, (gsize)(colon - option.creds))
                          : g_strdup(option.creds);
    if (colon == NULL)
        return read_password(password, error);
    *password = g_strdup(colon + 1);
    return TRUE;
}

/* --- both ---------------------------------------------------------------------------------- */

typedef struct {
    VarveImageRemote remote;
    char *user, *password;
} Remote;

static void
remote_clear(Remote *remote)
{
    g_free(remote->user);
    secret_free(remote->password);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Remote, remote_clear)

static gboolean
read_remote(Remote *remote, GError **error)
{
    if (option.jobs < 0 || option.jobs > MAX_JOBS)
        return cli_usage_error(error, "--jobs is a number from 1 to %d", MAX_JOBS);
    if (option.retries < -1)
        return cli_usage_error(error, "--retries is 0 or more");
    if (!read_credentials(&remote->user, &remote->password, error))
        return FALSE;
    remote->remote = (VarveImageRemote){
        .plain_http = option.plain_http,
        .ca_file = option.ca,
        .certificates_dir = option.certs,
        .username = remote->user,
        .password = remote->password,
        .auth_file = option.auth_file,
        .mirrors = (const char *const *)option.mirrors,
        .jobs = (guint)option.jobs,
        .retries = option.retries == 0 ? -1 : MAX(option.retries, 0),
    };
    return TRUE;
}

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
    g_auto(Remote) remote = {0};
    g_autoptr(GPtrArray) platforms = NULL;
    g_auto(VarveImageMoved) moved = {0};
    g_auto(VarveImageUnpacked) unpacked = {0};
    if (!read_platforms(&platforms, error) || !read_remote(&remote, error))
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
    g_autoptr(CliProgress) progress = cli_progress_new(cli, images, option.progress);
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
    g_auto(Remote) remote = {0};
    g_auto(VarveImageMoved) moved = {0};
    g_autoptr(VarvePlatform) platform = NULL;
    if (!cli_image_platform(&platform, error) || !read_remote(&remote, error))
        return FALSE;
    g_autoptr(VarveImages) images = varve_images_open(cli->engine, error);
    if (images == NULL)
        return FALSE;
    const VarveImagePush wish = {.platform = platform, .remote = remote.remote};
    g_autoptr(CliProgress) progress = cli_progress_new(cli, images, option.progress);
    if (!varve_images_push(images, args[0], args[1], &wish, &moved, error))
        return FALSE;
    cli_progress_sum_up(progress, "pushed", &moved);
    print_pushed(cli, &moved);
    return TRUE;
}
