/* SPDX-License-Identifier: Apache-2.0 */
#include "container/internal.h"
#include <string.h>
#include <sys/stat.h>

#define MAX_NAME 64 /* what sethostname(2) takes */
#define NAME_REST                                                                                  \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"                               \
    "_.-"

gboolean
varve_container_id_check(const char *id, GError **error)
{
    gsize length = strlen(id);
    if (g_ascii_isalnum(id[0]) && length <= MAX_NAME && strspn(id, NAME_REST) == length)
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "'%s' is no name of a container: a letter or digit, then letters, "
                           "digits, '_', '.' and '-', at most %d together",
                           id, MAX_NAME);
}

/* --- text --------------------------------------------------------------------------------- */

/* The runtime reads JSON, which has no other. */
static gboolean
check_text(const char *what, const char *text, GError **error)
{
    if (text == NULL || g_utf8_validate(text, -1, NULL))
        return TRUE;
    g_autofree char *shown = g_utf8_make_valid(text, -1);
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "%s '%s' is not valid UTF-8, and OCI runtimes take nothing else", what,
                           shown);
}

static gboolean
check_list(const char *what, const char *const *list, GError **error)
{
    for (; list != NULL && *list != NULL; list++)
        if (!check_text(what, *list, error))
            return FALSE;
    return TRUE;
}

static gboolean
check_texts(const VarveContainerOptions *options, GError **error)
{
    return check_list("the word", options->entrypoint, error) &&
           check_list("the word", options->command, error) &&
           check_list("the variable", options->env, error) &&
           check_list("the volume", options->volumes, error) &&
           check_list("the capability", options->cap_add, error) &&
           check_list("the capability", options->cap_drop, error) &&
           check_text("the working directory", options->working_dir, error) &&
           check_text("the user", options->user, error) &&
           check_text("the host name", options->hostname, error);
}

static gboolean
check_labels(GHashTable *labels, GError **error)
{
    GHashTableIter iter;
    gpointer key, value;
    if (labels == NULL)
        return TRUE;
    g_hash_table_iter_init(&iter, labels);
    while (g_hash_table_iter_next(&iter, &key, &value))
        if (!check_text("the label", key, error) || !check_text("the label", value, error))
            return FALSE;
    return TRUE;
}

/* --- volumes ------------------------------------------------------------------------------ */

void
varve_volume_binding_clear(VarveVolumeBinding *binding)
{
    g_clear_pointer(&binding->source, g_free);
    g_clear_pointer(&binding->destination, g_free);
}

gboolean
varve_volume_binding_parse(const char *text, VarveVolumeBinding *binding, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, ":", -1);
    guint n = g_strv_length(parts);
    const char *mode = n == 3 ? parts[2] : "rw";
    gboolean well_formed = (n == 2 || n == 3) && parts[0][0] == '/' && parts[1][0] == '/' &&
                           (g_str_equal(mode, "ro") || g_str_equal(mode, "rw"));
    if (!well_formed)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "volume '%s' is not of the form SOURCE:DESTINATION[:ro], with two "
                               "absolute paths",
                               text);
    if (parts[1][strspn(parts[1], "/.")] == '\0')
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "volume '%s' would hide the whole container", text);
    *binding = (VarveVolumeBinding){g_strdup(parts[0]), g_strdup(parts[1]),
                                    *mode == 'r' && mode[1] == 'o'};
    return TRUE;
}

static gboolean
check_volumes(const char *const *volumes, GError **error)
{
    for (; volumes != NULL && *volumes != NULL; volumes++) {
        g_auto(VarveVolumeBinding) binding = {0};
        struct stat st;
        if (!varve_volume_binding_parse(*volumes, &binding, error))
            return FALSE;
        if (stat(binding.source, &st) < 0)
            return varve_error_set_errno(error, errno, "volume '%s': looking at %s", *volumes,
                                         binding.source);
    }
    return TRUE;
}

/* --- all ---------------------------------------------------------------------------------- */

static gboolean
check_env(const char *const *env, GError **error)
{
    for (; env != NULL && *env != NULL; env++)
        if (strchr(*env, '=') == NULL || **env == '=')
            return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                                   "the variable '%s' is not of the form KEY=VALUE", *env);
    return TRUE;
}

static gboolean
check_values(const VarveContainerOptions *options, GError **error)
{
    if (options->working_dir != NULL && options->working_dir[0] != '/')
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "the working directory '%s' is not an absolute path",
                               options->working_dir);
    if (options->hostname != NULL &&
        (options->hostname[0] == '\0' || strlen(options->hostname) > MAX_NAME))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "the host name '%s' is not of 1 to %d bytes", options->hostname,
                               MAX_NAME);
    if (options->memory > G_MAXINT64 || !(options->cpus >= 0 && options->cpus < 1e6) ||
        options->pids_limit < 0)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "a limit is out of range");
    return TRUE;
}

gboolean
varve_container_options_check(const VarveContainerOptions *options, GError **error)
{
    return (options->id == NULL || varve_container_id_check(options->id, error)) &&
           check_texts(options, error) && check_labels(options->labels, error) &&
           check_env(options->env, error) && check_values(options, error) &&
           check_volumes(options->volumes, error);
}
