/* SPDX-License-Identifier: Apache-2.0 */
#include "volume/stream/path.h"
#include <linux/limits.h>
#include <string.h>

static gboolean
is_name(const char *name, gsize length)
{
    return length > 0 && length <= NAME_MAX && !(length == 1 && name[0] == '.') &&
           !(length == 2 && name[0] == '.' && name[1] == '.');
}

gboolean
varve_stream_path_check(const char *path, GError **error)
{
    gboolean ok = path[0] == '/';
    for (const char *at = path; ok && path[1] != '\0' && *at != '\0';) {
        gsize length = strcspn(at + 1, "/");
        ok = is_name(at + 1, length);
        at += 1 + length;
    }
    if (ok)
        return TRUE;
    g_autofree char *shown = varve_stream_path_show(path);
    return varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "the path '%s' in the stream is none that a snapshot can have", shown);
}

char *
varve_stream_path_show(const char *path)
{
    g_autofree char *start = g_strndup(path, 200);
    return g_strescape(start, NULL);
}

gboolean
varve_stream_path_is_within(const char *path, const char *directory)
{
    gsize length = strlen(directory);
    return strncmp(path, directory, length) == 0 && (path[length] == '/' || path[length] == '\0');
}
