/* SPDX-License-Identifier: Apache-2.0 */
#include "container/spec.h"
#include <string.h>

/* --- what is run -------------------------------------------------------------------------- */

static void
add_all(GPtrArray *list, const char *const *words)
{
    for (; words != NULL && *words != NULL; words++)
        g_ptr_array_add(list, g_strdup(*words));
}

char **
varve_spec_args(const VarveSpecSource *source, GError **error)
{
    const VarveContainerOptions *options = source->options;
    const char *const *entrypoint = options->entrypoint, *const *command = options->command;
    if (entrypoint == NULL)
        entrypoint = (const char *const *)source->image->entrypoint;
    if ((command == NULL || *command == NULL) && options->entrypoint == NULL)
        command = (const char *const *)source->image->cmd;
    g_autoptr(GPtrArray) args = g_ptr_array_new_with_free_func(g_free);
    add_all(args, entrypoint);
    add_all(args, command);
    if (args->len == 0 || *(char *)args->pdata[0] == '\0') {
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                        "neither the image nor the caller says what to run");
        return NULL;
    }
    g_ptr_array_add(args, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&args), FALSE);
}

/* --- environment -------------------------------------------------------------------------- */

/* The later value takes the place of the earlier one. What is no variable is left out: runtimes
 * refuse it. */
static void
set_variable(GPtrArray *env, const char *variable)
{
    const char *equals = strchr(variable, '=');
    if (equals == NULL || equals == variable)
        return;
    gsize length = (gsize)(equals - variable) + 1;
    for (guint i = 0; i < env->len; i++) {
        if (strncmp(env->pdata[i], variable, length) == 0) {
            g_free(env->pdata[i]);
            env->pdata[i] = g_strdup(variable);
            return;
        }
    }
    g_ptr_array_add(env, g_strdup(variable));
}

static void
set_default(GPtrArray *env, const char *key, const char *value)
{
    g_autofree char *variable = g_strconcat(key, "=", value, NULL);
    gsize length = strlen(key) + 1;
    for (guint i = 0; i < env->len; i++)
        if (strncmp(env->pdata[i], variable, length) == 0)
            return;
    g_ptr_array_add(env, g_steal_pointer(&variable));
}

char **
varve_spec_env(const VarveSpecSource *source)
{
    const VarveContainerOptions *options = source->options;
    const char *hostname = options->hostname != NULL ? options->hostname : source->id;
    GPtrArray *env = g_ptr_array_new();
    for (char **variable = source->image->env; *variable != NULL; variable++)
        set_variable(env, *variable);
    for (const char *const *v = options->env; v != NULL && *v != NULL; v++)
        set_variable(env, *v);
    set_default(env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    set_default(env, "HOSTNAME", hostname);
    if (options->terminal)
        set_default(env, "TERM", "xterm");
    set_default(env, "HOME", source->user->home);
    g_ptr_array_add(env, NULL);
    return (char **)g_ptr_array_free(env, FALSE);
}

char *
varve_spec_working_dir(const VarveSpecSource *source)
{
    const char *path = source->options->working_dir;
    if (path == NULL)
        path = source->image->working_dir;
    return g_canonicalize_filename(path, "/");
}

/* --- capabilities ------------------------------------------------------------------------- */

static const struct {
    const char *name;
    gboolean usual; /* those that Docker gives */
} capabilities[] = {
    {"CAP_CHOWN", TRUE},
    {"CAP_DAC_OVERRIDE", TRUE},
    {"CAP_DAC_READ_SEARCH"},
    {"CAP_FOWNER", TRUE},
    {"CAP_FSETID", TRUE},
    {"CAP_KILL", TRUE},
    {"CAP_SETGID", TRUE},
    {"CAP_SETUID", TRUE},
    {"CAP_SETPCAP", TRUE},
    {"CAP_LINUX_IMMUTABLE"},
    {"CAP_NET_BIND_SERVICE", TRUE},
    {"CAP_NET_BROADCAST"},
    {"CAP_NET_ADMIN"},
    {"CAP_NET_RAW", TRUE},
    {"CAP_IPC_LOCK"},
    {"CAP_IPC_OWNER"},
    {"CAP_SYS_MODULE"},
    {"CAP_SYS_RAWIO"},
    {"CAP_SYS_CHROOT", TRUE},
    {"CAP_SYS_PTRACE"},
    {"CAP_SYS_PACCT"},
    {"CAP_SYS_ADMIN"},
    {"CAP_SYS_BOOT"},
    {"CAP_SYS_NICE"},
    {"CAP_SYS_RESOURCE"},
    {"CAP_SYS_TIME"},
    {"CAP_SYS_TTY_CONFIG"},
    {"CAP_MKNOD", TRUE},
    {"CAP_LEASE"},
    {"CAP_AUDIT_WRITE", TRUE},
    {"CAP_AUDIT_CONTROL"},
    {"CAP_SETFCAP", TRUE},
    {"CAP_MAC_OVERRIDE"},
    {"CAP_MAC_ADMIN"},
    {"CAP_SYSLOG"},
    {"CAP_WAKE_ALARM"},
    {"CAP_BLOCK_SUSPEND"},
    {"CAP_AUDIT_READ"},
    {"CAP_PERFMON"},
    {"CAP_BPF"},
    {"CAP_CHECKPOINT_RESTORE"},
};

/* Sets those that are named, in any case and with or without "CAP_". */
static gboolean
mark(const char *const *names, gboolean value, gboolean *wanted, GError **error)
{
    for (; names != NULL && *names != NULL; names++) {
        const char *name = *names;
        gboolean all = g_ascii_strcasecmp(name, "ALL") == 0, found = all;
        if (g_ascii_strncasecmp(name, "CAP_", 4) == 0)
            name += 4;
        for (gsize i = 0; i < G_N_ELEMENTS(capabilities); i++) {
            if (all || g_ascii_strcasecmp(name, capabilities[i].name + 4) == 0) {
                wanted[i] = value;
                found = TRUE;
            }
        }
        if (!found)
            return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                                   "there is no capability '%s'", *names);
    }
    return TRUE;
}

char **
varve_spec_capabilities(const VarveSpecSource *source, GError **error)
{
    gboolean wanted[G_N_ELEMENTS(capabilities)];
    for (gsize i = 0; i < G_N_ELEMENTS(capabilities); i++)
        wanted[i] = capabilities[i].usual;
    if (!mark(source->options->cap_drop, FALSE, wanted, error) ||
        !mark(source->options->cap_add, TRUE, wanted, error))
        return NULL;
    GPtrArray *names = g_ptr_array_new();
    for (gsize i = 0; i < G_N_ELEMENTS(capabilities); i++)
        if (wanted[i])
            g_ptr_array_add(names, g_strdup(capabilities[i].name));
    g_ptr_array_add(names, NULL);
    return (char **)g_ptr_array_free(names, FALSE);
}
