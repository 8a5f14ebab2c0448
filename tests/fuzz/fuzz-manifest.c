/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests and indexes come from registries and archives: any bytes are either refused, or give
 * descriptors that may be used as paths and sizes. What is read and written again is the same. */
#include "base/digest.h"
#include "image/layout.h"
#include "image/media-types.h"
#include "image/platform.h"
#include "image/reference.h"
#include <string.h>

int LLVMFuzzerTestOneInput(const guint8 *bytes, gsize n);

static void
check(const VarveDescriptor *descriptor)
{
    g_autoptr(GError) error = NULL;
    g_assert(varve_digest_check(descriptor->digest, NULL));
    g_assert(descriptor->size <= G_MAXINT64 && *descriptor->media_type != '\0');
    json_auto_t *object = varve_descriptor_to_json(descriptor);
    g_autoptr(VarveDescriptor) again = varve_descriptor_parse(object, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(again->digest, ==, descriptor->digest);
    g_assert_cmpuint(again->size, ==, descriptor->size);
    g_assert_cmpuint(g_hash_table_size(again->annotations), ==,
                     g_hash_table_size(descriptor->annotations));
    if (descriptor->platform != NULL)
        g_assert_cmpuint(varve_platform_rank(descriptor->platform, again->platform), ==, 0);
}

static void
check_names(GPtrArray *names)
{
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *whole = varve_image_name_normalize(g_ptr_array_index(names, i), NULL);
        if (whole == NULL)
            continue;
        g_assert_cmpuint(strlen(whole), <=, VARVE_REFERENCE_MAX);
        g_autofree char *familiar = varve_image_name_familiar(whole);
        g_autofree char *again = varve_image_name_normalize(familiar, NULL);
        g_assert_cmpstr(again, ==, whole);
    }
}

int
LLVMFuzzerTestOneInput(const guint8 *bytes, gsize n)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveManifest) manifest = varve_manifest_parse((const char *)bytes, n, NULL, &error);
    g_assert((manifest == NULL) == (error != NULL));
    for (guint i = 0; manifest != NULL && i < manifest->blobs->len; i++)
        check(g_ptr_array_index(manifest->blobs, i));
    if (manifest != NULL && manifest->config != NULL)
        check(manifest->config);

    g_autoptr(GPtrArray) offers = varve_layout_parse_index((const char *)bytes, n, NULL);
    for (guint i = 0; offers != NULL && i < offers->len; i++)
        check_names(((VarveOffer *)g_ptr_array_index(offers, i))->names);
    return 0;
}
