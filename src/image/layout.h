/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_LAYOUT_H
#define VARVE_IMAGE_LAYOUT_H

/*
 * The OCI image layout (image-layout.md of the image specification), and what it has in common with
 * Docker's archive:
 *
 *     oci-layout             {"imageLayoutVersion": "1.0.0"}
 *     index.json             the images, as an index whose annotations give their names
 *     blobs/sha256/HEX       the blobs
 */

#include "image/oci.h"

#define VARVE_LAYOUT_FILE    "oci-layout"
#define VARVE_LAYOUT_INDEX   "index.json"
#define VARVE_LAYOUT_BLOBS   "blobs/sha256/"
#define VARVE_LAYOUT_VERSION "{\"imageLayoutVersion\":\"1.0.0\"}"
#define VARVE_LAYOUT_MAX     ((gsize)64 << 10) /* of the file oci-layout */

/* An image that an archive offers, and how it calls it. */
typedef struct {
    VarveDescriptor *target;
    GPtrArray *names;   /* char*: whole names, or tags alone; to call it by */
    GPtrArray *aliases; /* char*: beside these, to find it by */
} VarveOffer;

VarveOffer *varve_offer_new(VarveDescriptor *target); /* takes it */
void varve_offer_free(VarveOffer *offer);

/* Checks the content of oci-layout. */
gboolean varve_layout_check_version(const char *text, gsize size, GError **error);

/* What index.json offers: GPtrArray of VarveOffer*. */
GPtrArray *varve_layout_parse_index(const char *text, gsize size, GError **error);

/* Which of the offers are wanted, and what they are to be called: GPtrArray of VarveNaming*
 * (internal.h), at least one. */
GPtrArray *varve_layout_choose(GPtrArray *offers, const VarveImageImport *options, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveOffer, varve_offer_free)

#endif
