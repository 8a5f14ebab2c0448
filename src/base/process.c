/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"
#include <string.h>
#include <unistd.h>

char *
varve_process_find(const char *name, const char *package, GError **error)
{
    static const char *const places[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin",
                                         "/usr/bin",        "/sbin",          "/bin"};
    for (gsize i = 0; i < G_N_ELEMENTS(places); i++) {
        g_autofree char *path = g_build_filename(places[i], name, NULL);
        if (access(path, X_OK) == 0)
            return g_steal_pointer(&path);
    }
    varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                    "%s is not installed: it is in the package %s", name, package);
    return NULL;
}

/* "zpool create: what it said", of several lines, on one. */
static gboolean
set_failure(GError **error, const char *const *argv, const char *why, char *complaint)
{
    const char *slash = strrchr(argv[0], '/');
    const char *name = slash != NULL ? slash + 1 : argv[0];
    const char *verb = argv[1] != NULL ? argv[1] : "";
    const char *text = complaint != NULL ? g_strstrip(complaint) : "";
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line != NULL; line++)
        g_strstrip(*line);
    g_autofree char *joined = g_strjoinv(" ", lines);
    return varve_error_set(error, VARVE_ERROR_INTERNAL, "%s %s: %s", name, verb,
                           *joined != '\0' ? joined : why);
}

gboolean
varve_process_run(const char *const *argv, char **output, GError **error)
{
    static const char *const environment[] = {
        "LC_ALL=C", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    g_autofree char *said = NULL, *complaint = NULL;
    g_autoptr(GError) why = NULL;
    int status;
    if (!g_spawn_sync("/", (char **)argv, (char **)environment, G_SPAWN_DEFAULT, NULL, NULL, &said,
                      &complaint, &status, &why) ||
        !g_spawn_check_wait_status(status, &why))
        return set_failure(error, argv, why->message, complaint);
    if (output != NULL)
        *output = g_steal_pointer(&said);
    return TRUE;
}
