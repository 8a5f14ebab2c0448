/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_LISTING_H
#define VARVE_BASE_LISTING_H

/* The names in a directory, in the order of their bytes. */

#include "base/error.h"

typedef struct VarveListing VarveListing;

typedef struct {
    const char *name;   /* lives as long as the listing */
    unsigned char type; /* DT_DIR, DT_REG, ...; DT_UNKNOWN where the file system does not tell */
    guint64 inode;      /* its number; that of the directory itself where something is mounted */
} VarveListingEntry;

/* Reads a directory that was opened for reading; "." and ".." are left out. NULL with errno set. A
 * directory that was removed meanwhile is empty. */
VARVE_SHARED VarveListing *varve_listing_read(int fd);
VARVE_SHARED void varve_listing_free(VarveListing *listing);

VARVE_SHARED gsize varve_listing_length(const VarveListing *listing);
VARVE_SHARED VarveListingEntry varve_listing_get(const VarveListing *listing, gsize i);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveListing, varve_listing_free)

#endif
