/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_OVERLAY_H
#define VARVE_DRIVER_OVERLAY_H

/* Between the overlay driver's files: how a snapshot becomes a mount, whether it can here,
 * and what changed in one. */

#include "driver/changes.h"

/* The options that depend on the kernel and on where this process runs, not on a snapshot; a
 * NULL-terminated array that the caller owns. */
char **varve_overlay_common_options(void);

/* The mount that shows a snapshot of the pool at path, which was checked. */
VarveMount *varve_overlay_mount(char **common_options, const char *path,
                                const VarveDriverSnapshot *snapshot);

/* Where a pool has its layers. */
typedef struct {
    const char *path; /* the pool's */
    int fs;           /* its folder of layers */
    char **options;   /* varve_overlay_common_options() */
} VarveOverlayLayers;

/* The driver's changes (changes.c). */
gboolean varve_overlay_changes(const VarveOverlayLayers *layers,
                               const VarveDriverSnapshot *snapshot, VarveChangeSink *sink,
                               GError **error);

/* Refuses paths that cannot stand in overlayfs's options. */
gboolean varve_overlay_check_path(const char *path, GError **error);

/* The driver's probe. */
gboolean varve_overlay_probe(const char *path, GHashTable *settings, GError **error);

#endif
