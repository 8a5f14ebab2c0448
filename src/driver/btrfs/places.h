/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_BTRFS_PLACES_H
#define VARVE_DRIVER_BTRFS_PLACES_H

/*
 * Where in a directory tree the paths of a send stream are. Any bytes may call themselves a path:
 * one is taken only if it stays beneath the root by its own words (no "..", ".", nothing empty),
 * and is then followed by the kernel with the order to pass no symbolic link and no mount. The last
 * component is not looked at: that is for the call that is made with it, which must not follow it
 * either.
 *
 * Directories that paths were in last stay open, since a stream goes from directory to directory.
 */

#include "base/attributes.h"

typedef struct VarvePlaces VarvePlaces;

/* root: a directory, which must stay open. */
VarvePlaces *varve_places_new(int root);
void varve_places_free(VarvePlaces *places);

/* The directory and the name in it that a path is; "" is the root, with the name ".". The name is
 * part of path; the directory stays open until the call after the next one. VARVE_ERROR_CORRUPT for
 * a path that cannot be one, or whose directory is not there. */
gboolean varve_places_find(VarvePlaces *places, const char *path, VarveFile *place, GError **error);

/* The same for what is to be made, moved or removed, which the root cannot be. */
gboolean varve_places_find_name(VarvePlaces *places, const char *path, VarveFile *place,
                                GError **error);

/* What is at that path may be another directory now, or none. */
void varve_places_forget(VarvePlaces *places, const char *path);

/* Whether path is at, or beneath, the path above. */
gboolean varve_places_is_beneath(const char *path, const char *above);

/* Sets what a call that was made for a stream failed with. What comes of a stream that is for
 * another snapshot, or for none (a name that is there already, or is not), is VARVE_ERROR_CORRUPT.
 * Returns FALSE. */
gboolean varve_places_set_errno(GError **error, int errnum, const char *doing);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarvePlaces, varve_places_free)

#endif
