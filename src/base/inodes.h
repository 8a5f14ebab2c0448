/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_INODES_H
#define VARVE_BASE_INODES_H

/* Files that were seen already, for those that have several names. */

#include <glib.h>

typedef struct {
    guint64 dev, ino;
} VarveInode;

/* A table keyed by VarveInode*, which it frees with g_free(), as it does values by free_value. */
GHashTable *varve_inodes_new(GDestroyNotify free_value);

#endif
