/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/zfs/note.h"
#include "base/fd.h"
#include <string.h>
#include <unistd.h>
#include <varve/log.h>

#define LONGEST 64

gboolean
varve_zfs_note_write(const VarveDriverHost *host, const char *name, const char *value,
                     GError **error)
{
    g_autofree char *path = g_build_filename(host->path, name, NULL);
    g_autofree char *line = g_strconcat(value, "\n", NULL);
    g_autoptr(GError) why = NULL;
    if (g_file_set_contents_full(path, line, -1,
                                 G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0600,
                                 &why))
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_INTERNAL, "%s", why->message);
}

char *
varve_zfs_note_read(const VarveDriverHost *host, const char *name, GError **error)
{
    char text[LONGEST + 1];
    varve_autofd fd = openat(host->dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, text, LONGEST) : -1;
    if (n < 0) {
        varve_error_set_errno(error, errno, "reading the pool's note %s/%s of its file system",
                              host->path, name);
        return NULL;
    }
    text[n] = '\0';
    return g_strdup(g_strstrip(text));
}

void
varve_zfs_note_delete(const VarveDriverHost *host, const char *name)
{
    if (unlinkat(host->dirfd, name, 0) < 0 && errno != ENOENT)
        varve_log(VARVE_LOG_WARNING, "cannot delete a note of a pool that is gone", "directory",
                  host->path, "note", name, "error", g_strerror(errno), NULL);
}
