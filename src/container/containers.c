/* SPDX-License-Identifier: Apache-2.0 */
#include "container/internal.h"

#define FOLDER "containers"

/* Nothing is made by looking, nor where a disk is full. */
VarveContainers *
varve_containers_open(VarveEngine *engine, GError **error)
{
    int fd = openat(engine->rootfd, FOLDER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno != ENOENT) {
        varve_error_set_errno(error, errno, "opening %s/%s", engine->root, FOLDER);
        return NULL;
    }
    VarveContainers *containers = g_new0(VarveContainers, 1);
    *containers = (VarveContainers){engine, fd};
    return containers;
}

gboolean
varve_containers_make_folder(VarveContainers *containers, GError **error)
{
    if (containers->fd < 0)
        containers->fd = varve_fd_make_dir(containers->engine->rootfd, FOLDER, 0700, error);
    return containers->fd >= 0;
}

VarveListing *
varve_containers_read(VarveContainers *containers, GError **error)
{
    varve_autofd fd = openat(containers->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    VarveListing *names = fd < 0 ? NULL : varve_listing_read(fd);
    if (names == NULL)
        varve_error_set_errno(error, errno, "listing the containers");
    return names;
}

void
varve_containers_close(VarveContainers *containers)
{
    if (containers == NULL)
        return;
    varve_fd_clear(&containers->fd);
    g_free(containers);
}

/* --- looking ------------------------------------------------------------------------------ */

void
varve_container_info_free(VarveContainerInfo *info)
{
    if (info == NULL)
        return;
    varve_container_info_clear(info);
    g_free(info);
}

/* The state that a container has by what its runtime says, which knows it from its creation to its
 * deletion, and by the lock. */
static char *
tell_state(const char *runtime_says, gboolean attended, gboolean finished)
{
    if (runtime_says != NULL && !g_str_equal(runtime_says, "stopped"))
        return g_strdup(runtime_says);
    return g_strdup(attended && !finished && runtime_says == NULL ? "starting" : "exited");
}

/* One; NULL, with no error, for what is being made or removed. */
static VarveContainerInfo *
look_at(VarveContainers *containers, const char *id, GError **error)
{
    g_autoptr(GError) failure = NULL;
    g_autoptr(VarveBundle) bundle = varve_bundle_open(containers, id, &failure);
    g_autoptr(VarveContainerRecord) record =
        bundle != NULL ? varve_container_record_read(bundle, &failure) : NULL;
    if (record == NULL) {
        if (!g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_NOT_FOUND))
            g_propagate_prefixed_error(error, g_steal_pointer(&failure), "container '%s': ", id);
        return NULL;
    }
    VarveContainerInfo *info = g_new0(VarveContainerInfo, 1);
    *info = record->info;
    record->info = (VarveContainerInfo){0};
    info->id = g_strdup(id);
    info->attended = !varve_bundle_try_lock(bundle);
    g_autofree char *says = varve_runtime_state(bundle, record->runtime, &info->pid);
    info->state = tell_state(says, info->attended, info->finished != 0);
    return info;
}

GPtrArray *
varve_containers_list(VarveContainers *containers, GError **error)
{
    g_autoptr(GPtrArray) infos =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_container_info_free);
    if (containers->fd < 0)
        return g_steal_pointer(&infos);
    g_autoptr(VarveListing) names = varve_containers_read(containers, error);
    if (names == NULL)
        return NULL;
    for (gsize i = 0; i < varve_listing_length(names); i++) {
        GError *failure = NULL;
        VarveContainerInfo *info = look_at(containers, varve_listing_get(names, i).name, &failure);
        if (failure != NULL) {
            g_propagate_error(error, failure);
            return NULL;
        }
        if (info != NULL)
            g_ptr_array_add(infos, info);
    }
    return g_steal_pointer(&infos);
}
