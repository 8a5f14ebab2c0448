/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"
#include "base/tree.h"
#include "container/internal.h"
#include "container/users.h"
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- the directory ------------------------------------------------------------------------ */

static VarveBundle *
open_bundle(VarveContainers *containers, const char *id, GError **error)
{
    if (containers->fd < 0) {
        varve_error_set(error, VARVE_ERROR_NOT_FOUND, "there are no containers");
        return NULL;
    }
    varve_autofd fd = varve_fd_open_dir(containers->fd, id, error);
    if (fd < 0)
        return NULL;
    VarveBundle *bundle = g_new0(VarveBundle, 1);
    bundle->parent = containers->fd;
    bundle->fd = fd;
    bundle->id = g_strdup(id);
    bundle->path = g_build_filename(containers->engine->root, "containers", id, NULL);
    fd = -1;
    return bundle;
}

gboolean
varve_bundle_is_there(const VarveBundle *bundle)
{
    return varve_fd_is_linked(bundle->fd, bundle->parent, bundle->id);
}

gboolean
varve_bundle_try_lock(VarveBundle *bundle)
{
    return flock(bundle->fd, LOCK_EX | LOCK_NB) == 0;
}

/* Before it was locked, a cleanup may have taken it for what a dead run left: *lost. */
static VarveBundle *
make_bundle(VarveContainers *containers, const char *id, gboolean *lost, GError **error)
{
    *lost = FALSE;
    if (mkdirat(containers->fd, id, 0700) < 0) {
        if (errno == EEXIST)
            varve_error_set(error, VARVE_ERROR_ALREADY_EXISTS, "there is a container '%s' already",
                            id);
        else
            varve_error_set_errno(error, errno, "making directory %s", id);
        return NULL;
    }
    g_autoptr(VarveBundle) bundle = open_bundle(containers, id, NULL);
    *lost = bundle == NULL || flock(bundle->fd, LOCK_EX) < 0 || !varve_bundle_is_there(bundle);
    return *lost ? NULL : g_steal_pointer(&bundle);
}

#define ATTEMPTS 16

VarveBundle *
varve_bundle_make(VarveContainers *containers, const char *id, GError **error)
{
    if (!varve_containers_make_folder(containers, error))
        return NULL;
    for (int i = 0; i < ATTEMPTS; i++) {
        g_autofree char *made_up =
            g_strdup_printf("%08x%04x", g_random_int(), g_random_int() & 0xffff);
        g_autoptr(GError) failure = NULL;
        gboolean lost;
        VarveBundle *bundle = make_bundle(containers, id != NULL ? id : made_up, &lost, &failure);
        if (bundle != NULL)
            return bundle;
        if (lost ||
            (id == NULL && g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS)))
            continue;
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                    "its directory is taken away as soon as it is made");
    return NULL;
}

VarveBundle *
varve_bundle_open(VarveContainers *containers, const char *id, GError **error)
{
    g_autoptr(GError) failure = NULL;
    VarveBundle *bundle = open_bundle(containers, id, &failure);
    if (bundle != NULL)
        return bundle;
    if (g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_NOT_FOUND))
        varve_error_set(error, VARVE_ERROR_NOT_FOUND, "there is no container '%s'", id);
    else
        g_propagate_error(error, g_steal_pointer(&failure));
    return NULL;
}

gboolean
varve_bundle_remove(const VarveBundle *bundle, GError **error)
{
    return varve_tree_remove(bundle->parent, bundle->id, NULL, error);
}

void
varve_bundle_close(VarveBundle *bundle)
{
    if (bundle == NULL)
        return;
    varve_fd_clear(&bundle->fd);
    g_free(bundle->id);
    g_free(bundle->path);
    g_free(bundle);
}

/* --- its files ---------------------------------------------------------------------------- */

static gboolean
write_all(int fd, const char *text, GError **error)
{
    if (!varve_fd_write_all(fd, text, strlen(text), VARVE_FD_HERE))
        return varve_error_set_errno(error, errno, "writing");
    return fsync(fd) == 0 || varve_error_set_errno(error, errno, "syncing");
}

gboolean
varve_bundle_write(const VarveBundle *bundle, const char *name, const char *text, mode_t mode,
                   GError **error)
{
    g_autofree char *begun = g_strconcat(name, ".new", NULL);
    varve_autofd fd =
        openat(bundle->fd, begun, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0)
        return varve_error_set_errno(error, errno, "making %s", begun);
    if (fchmod(fd, mode) < 0)
        return varve_error_set_errno(error, errno, "setting the mode of %s", begun);
    if (!write_all(fd, text, error)) {
        g_prefix_error(error, "%s: ", begun);
        return FALSE;
    }
    return renameat(bundle->fd, begun, bundle->fd, name) == 0 ||
           varve_error_set_errno(error, errno, "renaming %s to %s", begun, name);
}

char *
varve_bundle_read(const VarveBundle *bundle, const char *name, gsize max, gsize *size,
                  GError **error)
{
    varve_autofd fd = openat(bundle->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        varve_error_set_errno(error, errno, "opening %s", name);
        return NULL;
    }
    return varve_root_read_all(fd, name, max, size, error);
}
