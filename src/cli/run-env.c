/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/run.h"
#include <string.h>

/* A variable of this process's that is not set is none of the container's either. */
static void
add_variable(GPtrArray *env, const char *text)
{
    const char *value = strchr(text, '=') == NULL ? g_getenv(text) : NULL;
    if (value != NULL)
        g_ptr_array_add(env, g_strconcat(text, "=", value, NULL));
    else if (strchr(text, '=') != NULL)
        g_ptr_array_add(env, g_strdup(text));
}

static gboolean
add_file(GPtrArray *env, const char *path, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) why = NULL;
    gsize length;
    if (!g_file_get_contents(path, &text, &length, &why)) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND, "reading variables: %s",
                    why->message);
        return FALSE;
    }
    if (strlen(text) != length)
        return cli_usage_error(error, "'%s' holds a NUL byte, no list of variables", path);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line != NULL; line++) {
        const char *begin = g_strchug(*line);
        if (*begin != '\0' && *begin != '#')
            add_variable(env, begin);
    }
    return TRUE;
}

char **
cli_run_env(char *const *files, char *const *pairs, GError **error)
{
    g_autoptr(GPtrArray) env = g_ptr_array_new_with_free_func(g_free);
    for (; files != NULL && *files != NULL; files++)
        if (!add_file(env, *files, error))
            return NULL;
    for (; pairs != NULL && *pairs != NULL; pairs++)
        add_variable(env, *pairs);
    g_ptr_array_add(env, NULL);
    return (char **)g_ptr_array_free(g_steal_pointer(&env), FALSE);
}

gboolean
cli_run_parse_size(const char *option, const char *text, guint64 *size, GError **error)
{
    static const char units[] = "bkmg";
    g_autofree char *lower = g_ascii_strdown(text, -1);
    gsize length = strlen(lower);
    const char *unit = length > 0 ? strchr(units, lower[length - 1]) : NULL;
    int shift = unit != NULL ? 10 * (int)(unit - units) : 0;
    if (unit != NULL)
        lower[length - 1] = '\0';
    if (!g_ascii_string_to_unsigned(lower, 10, 1, (guint64)G_MAXINT64 >> shift, size, NULL))
        return cli_usage_error(error, "%s '%s' is no size, such as 512m or 2g", option, text);
    *size <<= shift;
    return TRUE;
}
