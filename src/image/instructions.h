/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_INSTRUCTIONS_H
#define VARVE_IMAGE_INSTRUCTIONS_H

/* Changes of an image's config in the words of Dockerfiles, as 'docker commit --change' takes them.
 */

#include "base/json.h"

/* Does them all to an image's config (config.md of the OCI image specification). changes ends with
 * NULL, or is NULL. */
gboolean varve_instructions_apply(json_t *image, const char *const *changes, GError **error);

#endif
