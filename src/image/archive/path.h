/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_ARCHIVE_PATH_H
#define VARVE_IMAGE_ARCHIVE_PATH_H

/* The paths that archives have in them, which come from outside. */

#include "base/error.h"

/* A path in its normal form; one that is relative to the directory of base, which may be NULL. Up
 * ("..") only from there. NULL with VARVE_ERROR_INVALID_ARGUMENT when it leads out. */
VARVE_SHARED char *varve_archive_path(const char *path, const char *base, GError **error);

/* "the archive's entry 'PATH' WHY": VARVE_ERROR_INVALID_ARGUMENT. Returns FALSE. */
VARVE_SHARED gboolean varve_archive_refuse(GError **error, const char *path, const char *why);

#endif
