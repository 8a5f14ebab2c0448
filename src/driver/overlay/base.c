/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/overlay/base.h"

VarveOverlayBase *
varve_overlay_base_new(int root)
{
    VarveOverlayBase *base = g_new0(VarveOverlayBase, 1);
    base->path = g_string_new(NULL);
    base->root = root;
    return base;
}

void
varve_overlay_base_free(VarveOverlayBase *base)
{
    varve_dirstack_free(base->way);
    g_string_free(base->path, TRUE);
    g_free(base);
}

int
varve_overlay_base_fd(const VarveOverlayBase *base)
{
    return varve_dirstack_top(base->way);
}

gboolean
varve_overlay_base_enter(VarveOverlayBase *base, const char *name, GError **error)
{
    int failed = varve_dirstack_push(base->way, name);
    return failed == 0 || varve_error_set_errno(error, failed, "opening the parent's directory");
}

gboolean
varve_overlay_base_leave(VarveOverlayBase *base, GError **error)
{
    return varve_dirstack_pop(base->way, error);
}

VarveDirstack *
varve_overlay_base_way(const VarveOverlayBase *base, const char *path, gboolean *missing,
                       GError **error)
{
    *missing = FALSE;
    int root = varve_fd_open_dir(base->root, ".", error);
    if (root < 0)
        return NULL;
    g_autoptr(VarveDirstack) way = varve_dirstack_new(root);
    g_auto(GStrv) parts = g_strsplit(*path == '/' ? path + 1 : path, "/", -1);
    for (char **part = parts; *part != NULL && **part != '\0'; part++) {
        int failed = varve_dirstack_push(way, *part);
        *missing = failed == ENOENT || failed == ENOTDIR || failed == ELOOP;
        if (failed != 0 && !*missing)
            varve_error_set_errno(error, failed, "opening the parent's directory");
        if (failed != 0)
            return NULL;
    }
    return g_steal_pointer(&way);
}

void
varve_overlay_base_set(VarveOverlayBase *base, const char *path, VarveDirstack **way)
{
    g_string_assign(base->path, path);
    varve_dirstack_free(base->way);
    base->way = g_steal_pointer(way);
}

gboolean
varve_overlay_base_return(VarveOverlayBase *base, const char *path, GError **error)
{
    gboolean missing;
    g_clear_pointer(&base->way, varve_dirstack_free);
    g_string_assign(base->path, path);
    base->way = varve_overlay_base_way(base, path, &missing, error);
    if (base->way == NULL && missing)
        varve_error_set(error, VARVE_ERROR_BUSY, "the parent's directory is gone");
    return base->way != NULL;
}
