/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_PLATFORM_H
#define VARVE_IMAGE_PLATFORM_H

/*
 * Platforms, in the words of Go (GOOS, GOARCH) that the OCI specification took over, brought into
 * one form and compared as containerd's platforms package does it: a machine also runs the images
 * of the lesser machines that it can stand in for, and takes the best of what there is.
 */

#include "base/error.h"
#include <varve/image.h>

/* Takes copies of the strings (NULL is ""), in their normal form. */
VarvePlatform *varve_platform_new(const char *os, const char *architecture, const char *variant,
                                  const char *os_version);
VarvePlatform *varve_platform_copy(const VarvePlatform *platform);
void varve_platform_clear(VarvePlatform *platform);

/* This machine's. */
VarvePlatform *varve_platform_host(void);

/* How well an image for offered runs on wanted: 0 is best, G_MAXUINT is not at all. */
guint varve_platform_rank(const VarvePlatform *wanted, const VarvePlatform *offered);

#endif
