/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/places.h"
#include "base/fd.h"
#include <limits.h>
#include <linux/limits.h>
#include <string.h>

#define SLOTS 4

typedef struct {
    char *path; /* NULL: not used */
    int fd;
} Slot;

struct VarvePlaces {
    int root;
    Slot slots[SLOTS];
    guint next; /* the one that is given up next; never the one that was used last */
};

VarvePlaces *
varve_places_new(int root)
{
    VarvePlaces *places = g_new0(VarvePlaces, 1);
    places->root = root;
    for (guint i = 0; i < SLOTS; i++)
        places->slots[i].fd = -1;
    return places;
}

static void
slot_clear(Slot *slot)
{
    g_clear_pointer(&slot->path, g_free);
    varve_fd_clear(&slot->fd);
}

void
varve_places_free(VarvePlaces *places)
{
    if (places == NULL)
        return;
    for (guint i = 0; i < SLOTS; i++)
        slot_clear(&places->slots[i]);
    g_free(places);
}

/* --- paths ------------------------------------------------------------------------------------ */

static gboolean
refuse(GError **error, const char *why)
{
    return varve_error_set(error, VARVE_ERROR_CORRUPT, "the send stream is damaged: %s", why);
}

gboolean
varve_places_set_errno(GError **error, int errnum, const char *doing)
{
    static const int misfits[] = {ENOENT, EEXIST, ENOTDIR, EISDIR,      ELOOP, ENOTEMPTY,
                                  EXDEV,  EINVAL, ENODATA, ERANGE,      E2BIG, EFBIG,
                                  EMLINK, ENXIO,  EBUSY,   ENAMETOOLONG};
    for (gsize i = 0; i < G_N_ELEMENTS(misfits); i++) {
        if (errnum == misfits[i])
            return varve_error_set(error, VARVE_ERROR_CORRUPT,
                                   "%s: %s; the send stream does not fit what it is applied to",
                                   doing, g_strerror(errnum));
    }
    return varve_error_set_errno(error, errnum, "%s", doing);
}

static gboolean
is_component(const char *text, gsize length)
{
    return length > 0 && length <= NAME_MAX && !(length == 1 && text[0] == '.') &&
           !(length == 2 && text[0] == '.' && text[1] == '.');
}

static gboolean
check_path(const char *path, GError **error)
{
    if (strnlen(path, PATH_MAX) == PATH_MAX)
        return refuse(error, "a path is longer than there may be any");
    for (const char *at = path;; at++) {
        gsize length = strcspn(at, "/");
        if (!is_component(at, length))
            return refuse(error, "a path has a component that no name can be");
        at += length;
        if (*at == '\0')
            return TRUE;
    }
}

gboolean
varve_places_is_beneath(const char *path, const char *above)
{
    gsize length = strlen(above);
    return strncmp(path, above, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

/* --- directories ------------------------------------------------------------------------------ */

static Slot *
find_slot(VarvePlaces *places, const char *path, gsize length)
{
    for (guint i = 0; i < SLOTS; i++) {
        Slot *slot = &places->slots[i];
        if (slot->path == NULL || strncmp(slot->path, path, length) != 0 ||
            slot->path[length] != '\0')
            continue;
        if (i == places->next)
            places->next = (i + 1) % SLOTS;
        return slot;
    }
    return NULL;
}

static int
open_directory(VarvePlaces *places, const char *path, gsize length, GError **error)
{
    const Slot *found = find_slot(places, path, length);
    if (found != NULL)
        return found->fd;
    g_autofree char *directory = g_strndup(path, length);
    varve_autofd fd = varve_fd_open_beneath(places->root, directory, O_PATH | O_DIRECTORY);
    if (fd < 0) {
        varve_places_set_errno(error, errno, "opening its directory");
        return -1;
    }
    Slot *slot = &places->slots[places->next];
    places->next = (places->next + 1) % SLOTS;
    slot_clear(slot);
    slot->path = g_steal_pointer(&directory);
    slot->fd = fd;
    fd = -1;
    return slot->fd;
}

gboolean
varve_places_find(VarvePlaces *places, const char *path, VarveFile *place, GError **error)
{
    *place = (VarveFile){places->root, "."};
    return *path == '\0' || varve_places_find_name(places, path, place, error);
}

gboolean
varve_places_find_name(VarvePlaces *places, const char *path, VarveFile *place, GError **error)
{
    if (!check_path(path, error))
        return FALSE;
    const char *slash = strrchr(path, '/');
    *place = (VarveFile){places->root, slash != NULL ? slash + 1 : path};
    if (slash != NULL)
        place->dirfd = open_directory(places, path, (gsize)(slash - path), error);
    return place->dirfd >= 0;
}

void
varve_places_forget(VarvePlaces *places, const char *path)
{
    for (guint i = 0; i < SLOTS; i++) {
        if (places->slots[i].path != NULL && varve_places_is_beneath(places->slots[i].path, path))
            slot_clear(&places->slots[i]);
    }
}
