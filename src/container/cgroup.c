/* SPDX-License-Identifier: Apache-2.0 */
#include "container/internal.h"
#include <signal.h>
#include <unistd.h>

/*
 * A runtime removes the cgroups of a container that it knows. One that was killed while it made
 * them knows nothing yet, so what it left is looked for by its name.
 *
 *     /sys/fs/cgroup/varve/NAME               version 2
 *     /sys/fs/cgroup/CONTROLLER/varve/NAME    version 1
 */

#define PLACE    "/sys/fs/cgroup"
#define ATTEMPTS 100
#define PATIENCE (G_USEC_PER_SEC / 100)

static void
kill_members(const char *path)
{
    g_autofree char *list = g_build_filename(path, "cgroup.procs", NULL), *text = NULL;
    if (!g_file_get_contents(list, &text, NULL, NULL))
        return;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line != NULL; line++) {
        guint64 pid;
        if (g_ascii_string_to_unsigned(*line, 10, 2, G_MAXINT, &pid, NULL))
            (void)kill((pid_t)pid, SIGKILL);
    }
}

static gboolean
remove_one(const char *path, GError **error)
{
    for (int i = 0; i < ATTEMPTS; i++) {
        if (rmdir(path) == 0 || errno == ENOENT || errno == ENOTDIR)
            return TRUE;
        if (errno != EBUSY)
            break;
        kill_members(path);
        g_usleep(PATIENCE);
    }
    return varve_error_set_errno(error, errno, "removing cgroup %s", path);
}

gboolean
varve_cgroup_remove(const char *cgroup, GError **error)
{
    g_autofree char *own = g_strconcat(PLACE, cgroup, NULL);
    varve_autofd fd = open(PLACE, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_autoptr(VarveListing) controllers = fd < 0 ? NULL : varve_listing_read(fd);
    if (!remove_one(own, error))
        return FALSE;
    for (gsize i = 0; controllers != NULL && i < varve_listing_length(controllers); i++) {
        VarveListingEntry entry = varve_listing_get(controllers, i);
        g_autofree char *path = g_strconcat(PLACE "/", entry.name, cgroup, NULL);
        if (entry.type == DT_DIR && !remove_one(path, error))
            return FALSE;
    }
    return TRUE;
}
