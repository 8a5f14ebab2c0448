/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_IMAGE_REFERENCE_H
#define VARVE_IMAGE_REFERENCE_H

/*
 * References: the names of images, as the grammar of github.com/distribution/reference has them:
 *
 *     reference  := name [":" tag] ["@" digest]
 *     name       := domain "/" path
 *     domain     := host [":" port]
 *     path       := component ("/" component)*
 *     component  := [a-z0-9]+ (("." | "_" | "__" | "-"+) [a-z0-9]+)*
 *     tag        := [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}
 *
 * Short ones are completed as Docker does: the domain is what stands before the first slash if it
 * has a dot, a colon or capitals in it or is "localhost", else docker.io; a path of docker.io
 * without a slash is in library/; without tag and digest the tag is "latest".
 */

#include "base/error.h"

#define VARVE_REFERENCE_MAX 384 /* bytes of a whole one: 255 of name, a tag */

typedef struct {
    char *domain, *path;
    char *tag;    /* NULL for none; none where there is a digest */
    char *digest; /* NULL for none */
} VarveReference;

/* latest: whether to complete one without tag and digest. */
VarveReference *varve_reference_parse(const char *text, gboolean latest, GError **error);
void varve_reference_free(VarveReference *reference);

/* The whole name: "docker.io/library/debian:latest". */
VARVE_SHARED char *varve_reference_format(const VarveReference *reference);

/* The shortest that stands for it: "debian:latest". */
char *varve_reference_familiar(const VarveReference *reference);

/* Whether it could be a tag. */
VARVE_SHARED gboolean varve_reference_is_tag(const char *text);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveReference, varve_reference_free)

#endif
