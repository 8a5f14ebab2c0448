/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_OVERLAY_H
#define VARVE_DRIVER_OVERLAY_H

/* Between the overlay driver's files: how a snapshot becomes a mount, and whether it can here. */

#include "driver/driver.h"

/* The options that depend on the kernel and on where this process runs, not on a snapshot; a
 * NULL-terminated array that the caller owns. */
char **varve_overlay_common_options(void);

/* The mount that shows a snapshot of the pool at path, which was checked. */
VarveMount *varve_overlay_mount(char **common_options, const char *path,
                                const VarveDriverSnapshot *snapshot);

/* Refuses paths that cannot stand in overlayfs's options. */
gboolean varve_overlay_check_path(const char *path, GError **error);

/* The driver's probe. */
gboolean varve_overlay_probe(const char *path, GHashTable *settings, GError **error);

#endif
