/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_PULL_H
#define VARVE_IMAGE_PULL_H

/* Pulling: pull.c fetches, pull-platforms.c knows what an index has to offer. */

#include "image/internal.h"

/* Which entries of an index are not wanted: adds their digests to unwanted. platforms: ended by
 * NULL, or NULL for this machine's or the only one. Entries of which the index says no platform are
 * wanted, since they may be anything. VARVE_ERROR_NOT_FOUND, telling what there is: nothing in it
 * is for one of the platforms. */
gboolean varve_pull_choose(const VarveManifest *index, const VarvePlatform *const *platforms,
                           GHashTable *unwanted, GError **error);

#endif
