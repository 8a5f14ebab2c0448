/* SPDX-License-Identifier: Apache-2.0 */
#include "image/archive/path.h"
#include <string.h>

#define MAX_PATH 4096

gboolean
varve_archive_refuse(GError **error, const char *path, const char *why)
{
    g_autofree char *start = g_strndup(path, 256);
    g_autofree char *shown = g_strescape(start, NULL);
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "the archive's entry '%s' %s",
                           shown, why);
}

static gboolean
go_along(GPtrArray *parts, const char *path, gboolean may_go_up)
{
    g_auto(GStrv) names = g_strsplit(path, "/", -1);
    for (char **name = names; *name != NULL; name++) {
        if (**name == '\0' || g_str_equal(*name, "."))
            continue;
        if (!g_str_equal(*name, ".."))
            g_ptr_array_add(parts, g_strdup(*name));
        else if (may_go_up && parts->len > 0)
            g_ptr_array_set_size(parts, (gint)parts->len - 1);
        else
            return FALSE;
    }
    return TRUE;
}

char *
varve_archive_path(const char *path, const char *base, GError **error)
{
    g_autoptr(GPtrArray) parts = g_ptr_array_new_with_free_func(g_free);
    if (base != NULL) {
        go_along(parts, base, FALSE);
        if (parts->len > 0)
            g_ptr_array_set_size(parts, (gint)parts->len - 1);
    }
    if (strlen(path) > MAX_PATH || *path == '/' || !go_along(parts, path, base != NULL)) {
        varve_archive_refuse(error, path, "is no path inside it");
        return NULL;
    }
    g_ptr_array_add(parts, NULL);
    return g_strjoinv("/", (char **)parts->pdata);
}
