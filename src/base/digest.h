/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_DIGEST_H
#define VARVE_BASE_DIGEST_H

/* Digests as the OCI image specification writes them (descriptor.md, "Digests"): an algorithm, a
 * colon, lower-case hexadecimal digits. SHA-256 is the only algorithm here. */

#include "base/error.h"

#define VARVE_DIGEST_PREFIX "sha256:"
#define VARVE_DIGEST_LENGTH 71 /* of the text, without its NUL */

/* Whether text, which comes from outside, is a digest. It may be a part of a path then. */
VARVE_SHARED gboolean varve_digest_check(const char *text, GError **error);

/* The digits of a digest. */
VARVE_SHARED const char *varve_digest_hex(const char *digest);

/* The digest of bytes in memory. */
VARVE_SHARED char *varve_digest_of(const void *bytes, gsize size);

/* The digest of bytes that come one piece after the other. */
typedef struct VarveDigester VarveDigester;

VARVE_SHARED VarveDigester *varve_digester_new(void);
VARVE_SHARED void varve_digester_free(VarveDigester *digester);
VARVE_SHARED void varve_digester_update(VarveDigester *digester, const void *bytes, gsize size);

/* Once, at the end. */
VARVE_SHARED char *varve_digester_finish(VarveDigester *digester);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveDigester, varve_digester_free)

#endif
