/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run.h"
#include "cli/progress.h"

/* Of varve itself, beside 126 and 127: as Docker and podman have it. */
#define EXIT_NOT_RUN 125

static struct {
    char *name, *runtime, *entrypoint, *working_dir, *user, *hostname, *network, *memory, *platform,
        *seccomp, *pull;
    char **env, **env_files, **volumes, **cap_add, **cap_drop;
    GHashTable *labels;
    double cpus;
    gint64 pids_limit;
    gboolean terminal, remove, read_only, new_privileges;
} option;

static gboolean
add_label(const char *name, const char *value, gpointer data, GError **error)
{
    return cli_add_pair(&option.labels, "--label", value, error);
}

/* --- the line ----------------------------------------------------------------------------- */

/* Lists and the image are the caller's. */
static gboolean
read_options(VarveContainerOptions *options, GError **error)
{
    *options = (VarveContainerOptions){
        .id = option.name,
        .runtime = option.runtime,
        .volumes = (const char *const *)option.volumes,
        .cap_add = (const char *const *)option.cap_add,
        .cap_drop = (const char *const *)option.cap_drop,
        .seccomp = option.seccomp,
        .labels = option.labels,
        .working_dir = option.working_dir,
        .user = option.user,
        .hostname = option.hostname,
        .cpus = option.cpus,
        .pids_limit = option.pids_limit,
        .terminal = option.terminal,
        .remove = option.remove,
        .read_only = option.read_only,
        .new_privileges = option.new_privileges,
        .host_network = g_strcmp0(option.network, "host") == 0,
    };
    if (option.network != NULL && !options->host_network && !g_str_equal(option.network, "none"))
        return cli_usage_error(error, "--network is none or host, not '%s'", option.network);
    return option.memory == NULL ||
           cli_run_parse_size("--memory", option.memory, &options->memory, error);
}

static gboolean
read_policy(VarvePullPolicy *policy, GError **error)
{
    static const char *const names[] = {[VARVE_PULL_MISSING] = "missing",
                                        [VARVE_PULL_ALWAYS] = "always",
                                        [VARVE_PULL_NEVER] = "never"};
    *policy = VARVE_PULL_MISSING;
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        if (option.pull == NULL || g_str_equal(option.pull, names[i])) {
            *policy = (VarvePullPolicy)i;
            return TRUE;
        }
    }
    return cli_usage_error(error, "--pull is missing, always or never, not '%s'", option.pull);
}

/* Before the container has the terminal, since this may take long and shows its progress there. */
static gboolean
provide(const Cli *cli, const VarveContainerOptions *options, VarvePullPolicy policy,
        GError **error)
{
    g_auto(VarveImageUnpacked) unpacked = {0};
    g_autoptr(VarveImages) images = varve_images_open(cli->engine, error);
    GError *failure = NULL;
    if (images == NULL)
        return FALSE;
    CliProgress *progress = cli_progress_new(cli, images, FALSE);
    gboolean done = varve_images_provide(images, cli->pool, options->image, options->platform,
                                         policy, &unpacked, &failure);
    cli_progress_free(progress);
    varve_engine_set_progress(cli->engine, NULL, NULL);
    if (done)
        return TRUE;
    if (g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_NOT_FOUND))
        cli->outcome->hint =
            "'varve image ls' lists the images that are here, 'varve image import' "
            "takes one in, 'varve image pull' fetches one";
    g_propagate_error(error, failure);
    return FALSE;
}

static gboolean
run(const Cli *cli, char **args, GError **error)
{
    static const char *const none[] = {NULL};
    const char *entrypoint[] = {option.entrypoint, NULL};
    VarveContainerOptions options;
    VarvePullPolicy policy;
    g_autoptr(VarvePlatform) platform = NULL;
    g_auto(GStrv) env = NULL;
    if (!read_options(&options, error) || !read_policy(&policy, error))
        return FALSE;
    if (option.platform != NULL) {
        platform = varve_platform_parse(option.platform, error);
        if (platform == NULL)
            return FALSE;
    }
    env = cli_run_env(option.env_files, option.env, error);
    if (env == NULL)
        return FALSE;
    options.image = args[0];
    options.command = (const char *const *)args + 1;
    options.platform = platform;
    options.env = (const char *const *)env;
    if (option.entrypoint != NULL)
        options.entrypoint = *option.entrypoint != '\0' ? entrypoint : none;
    g_autoptr(VarveContainers) containers = varve_containers_open(cli->engine, error);
    return containers != NULL && provide(cli, &options, policy, error) &&
           varve_containers_run(containers, cli->pool, &options, &cli->outcome->status, error);
}

/* --- the table ---------------------------------------------------------------------------- */

#define FILENAME(name, letter, variable, text, argument)                                           \
    {                                                                                              \
        name, letter, 0, G_OPTION_ARG_FILENAME, &option.variable, text, argument                   \
    }
#define LIST(name, letter, variable, text, argument)                                               \
    {                                                                                              \
        name, letter, 0, G_OPTION_ARG_FILENAME_ARRAY, &option.variable, text, argument             \
    }
#define FLAG(name, letter, variable, text)                                                         \
    {                                                                                              \
        name, letter, 0, G_OPTION_ARG_NONE, &option.variable, text, NULL                           \
    }

static const GOptionEntry options[] = {
    FILENAME("name", 'n', name, "what the container is called; else an id is made up", "ID"),
    FLAG("rm", 0, remove, "remove it when it ends, whatever happens"),
    FLAG("tty", 't', terminal, "a terminal of its own, shown on this one"),
    LIST("env", 'e', env, "set a variable; without a value: to the one here", "KEY[=VALUE]"),
    LIST("env-file", 0, env_files, "read such lines from a file", "FILE"),
    LIST("volume", 'v', volumes, "bind a file or directory of this host into it",
         "SOURCE:DEST[:ro]"),
    FILENAME("workdir", 'w', working_dir, "where the command starts; made if it is missing", "DIR"),
    FILENAME("user", 'u', user, "as whom, by name or number", "USER[:GROUP]"),
    FILENAME("entrypoint", 0, entrypoint, "a program instead of the image's; \"\" for none",
             "PROGRAM"),
    FILENAME("hostname", 0, hostname, "its host name; else its id", "NAME"),
    FILENAME("network", 0, network, "none, the default: loopback only; or host", "KIND"),
    FLAG("read-only", 0, read_only, "it cannot write to its root file system"),
    FILENAME("memory", 'm', memory, "at most so much memory: 512m", "SIZE"),
    {"cpus", 0, 0, G_OPTION_ARG_DOUBLE, &option.cpus, "at most so many processors' time: 1.5", "N"},
    {"pids-limit", 0, 0, G_OPTION_ARG_INT64, &option.pids_limit, "at most so many processes", "N"},
    LIST("cap-add", 0, cap_add, "give it a capability: NET_ADMIN, or ALL", "CAP"),
    LIST("cap-drop", 0, cap_drop, "take one of the usual ones away, or ALL", "CAP"),
    FILENAME("seccomp", 0, seccomp, "a filter of system calls of your own, or unconfined", "FILE"),
    FLAG("new-privileges", 0, new_privileges, "let set-user-id programs such as sudo work"),
    {"label", 'l', 0, G_OPTION_ARG_CALLBACK, (gpointer)add_label, "note it with the container",
     "KEY=VALUE"},
    FILENAME("runtime", 0, runtime, "the OCI runtime; runc, else crun", "PROGRAM"),
    FILENAME("platform", 0, platform, "the image for this platform", "PLATFORM"),
    FILENAME("pull", 0, pull, "fetch the image: when it is missing, the default; always; never",
             "WHEN"),
    {NULL},
};

static const CliVerb verbs[] = {
    {
        .name = "run",
        .synopsis = "[OPTION]... IMAGE [COMMAND [ARGUMENT]...]",
        .summary = "Run a container from an image",
        .about =
            "An image that is not here is pulled, with the credentials of 'docker login'; it is\n"
            "unpacked if it is not yet. COMMAND\n"
            "takes the place of the image's own, and what follows it is its own line. Input,\n"
            "output and signals go through, and its exit status is returned: 125 when it could\n"
            "not be run, 126 when COMMAND could not be executed, 127 when there is none.\n"
            "What it writes is kept as the snapshot container/ID until 'varve container rm ID'.",
        .example = "varve run --rm debian:12 cat /etc/os-release\n"
                   "varve run --rm --tty debian:12 bash\n"
                   "varve run --name web --volume /srv/www:/www:ro --network host app:1\n",
        .min_args = 1,
        .max_args = CLI_ANY_ARGS,
        .options = options,
        .takes_command = TRUE,
        .failure_status = EXIT_NOT_RUN,
        .needs = CLI_NEEDS_POOL,
        .hint = {[VARVE_ERROR_ALREADY_EXISTS] = "'varve container rm' removes the one of that name",
                 [VARVE_ERROR_CORRUPT] = "the image is damaged: get it again"},
        .run = run,
    },
    {NULL},
};

const CliNoun cli_run_noun = {
    .name = "run",
    .summary = "Containers, from the image to the exit status",
    .verbs = verbs,
    .is_command = TRUE,
};
