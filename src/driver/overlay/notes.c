/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/overlay/notes.h"
#include "base/xattrs.h"
#include <string.h>
#include <sys/sysmacros.h>

#define REDIRECT_MAX 256 /* OVL_REDIRECT_MAX */

typedef struct {
    char text[32];
} Name;

static Name
name_of(VarveOverlayNotes notes, const char *what)
{
    Name name;
    const char *prefix = notes == VARVE_OVERLAY_NOTES_USER ? "user" : "trusted";
    g_snprintf(name.text, sizeof name.text, "%s.overlay.%s", prefix, what);
    return name;
}

static gboolean
has_note(VarveOverlayNotes notes, VarveFile file, const char *what)
{
    return varve_xattrs_get(file, name_of(notes, what).text, NULL, 0) >= 0;
}

gboolean
varve_overlay_is_whiteout(VarveOverlayNotes notes, VarveFile file, const struct stat *st)
{
    if (S_ISCHR(st->st_mode))
        return st->st_rdev == makedev(0, 0);
    return S_ISREG(st->st_mode) && st->st_size == 0 && has_note(notes, file, "whiteout");
}

gboolean
varve_overlay_is_opaque(VarveOverlayNotes notes, VarveFile dir)
{
    char value;
    return varve_xattrs_get(dir, name_of(notes, "opaque").text, &value, 1) == 1 && value == 'y';
}

gboolean
varve_overlay_is_metacopy(VarveOverlayNotes notes, VarveFile file)
{
    return has_note(notes, file, "metacopy");
}

/* Each part is one that can be a name. */
static gboolean
is_path(const char *path)
{
    g_auto(GStrv) parts = g_strsplit(*path == '/' ? path + 1 : path, "/", -1);
    if (*path != '/' && g_strv_length(parts) != 1)
        return FALSE;
    for (char **part = parts; *part != NULL; part++) {
        if (**part == '\0' || g_str_equal(*part, ".") || g_str_equal(*part, ".."))
            return FALSE;
    }
    return *parts != NULL;
}

gboolean
varve_overlay_redirect(VarveOverlayNotes notes, VarveFile file, char **path, GError **error)
{
    *path = NULL;
    if (notes == VARVE_OVERLAY_NOTES_USER)
        return TRUE;
    char value[REDIRECT_MAX + 1];
    ssize_t size = varve_xattrs_get(file, name_of(notes, "redirect").text, value, REDIRECT_MAX);
    if (size < 0 && (errno == ENODATA || errno == EOPNOTSUPP || errno == ENOENT))
        return TRUE;
    if (size < 0 && errno != ERANGE)
        return varve_error_set_errno(error, errno, "reading where it was before");
    value[MAX(size, 0)] = '\0';
    if (!is_path(value))
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "overlayfs's note of where it was before is no path");
    *path = g_strdup(value);
    return TRUE;
}
