/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests of backups come from registries: any bytes are either refused, or give snapshots whose
 * ids may be parts of paths, and whose bases come before them. What is added to is read again the
 * same. */
#include "backup/artifact.h"
#include "base/digest.h"
#include "snapshot/identity.h"
#include "volume/internal.h"

int LLVMFuzzerTestOneInput(const guint8 *bytes, gsize n);

static void
check_layer(const VarveArtifact *artifact, guint i)
{
    const VarveArtifactLayer *layer = artifact->layers->pdata[i];
    guint chain = 0;
    g_assert(varve_volume_id_check(layer->id, NULL) && varve_uuid_check(layer->uuid, NULL));
    g_assert(layer->of == NULL || varve_volume_id_check(layer->of, NULL));
    g_assert(varve_digest_check(layer->descriptor->digest, NULL));
    g_assert(varve_artifact_find(artifact, layer->uuid) == layer);
    for (; layer != NULL && chain <= artifact->layers->len; chain++)
        layer = layer->base != NULL ? varve_artifact_find(artifact, layer->base) : NULL;
    g_assert(chain <= artifact->layers->len);
}

static void
check_again(const VarveArtifact *artifact)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GBytes) written = varve_artifact_format(artifact, &error);
    if (written == NULL)
        return;
    gsize size;
    const char *text = g_bytes_get_data(written, &size);
    g_autoptr(VarveArtifact) again = varve_artifact_parse(text, size, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(again->volume, ==, artifact->volume);
    g_assert_cmpuint(again->layers->len, ==, artifact->layers->len);
    g_assert_cmpuint(g_hash_table_size(again->meta), ==, g_hash_table_size(artifact->meta));
    g_autoptr(GBytes) twice = varve_artifact_format(again, NULL);
    g_assert(g_bytes_equal(written, twice));
}

int
LLVMFuzzerTestOneInput(const guint8 *bytes, gsize n)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveArtifact) artifact = varve_artifact_parse((const char *)bytes, n, &error);
    g_assert((artifact == NULL) == (error != NULL));
    for (guint i = 0; artifact != NULL && i < artifact->layers->len; i++)
        check_layer(artifact, i);
    if (artifact != NULL)
        check_again(artifact);
    return 0;
}
