/* SPDX-License-Identifier: Apache-2.0 */
#include "image/media-types.h"
#include <string.h>

#define DOCKER "application/vnd.docker."

static const struct {
    const char *name;
    VarveMediaKind kind;
} types[] = {
    {VARVE_MEDIA_OCI_INDEX, VARVE_MEDIA_INDEX},
    {DOCKER "distribution.manifest.list.v2+json", VARVE_MEDIA_INDEX},
    {VARVE_MEDIA_OCI_MANIFEST, VARVE_MEDIA_MANIFEST},
    {DOCKER "distribution.manifest.v2+json", VARVE_MEDIA_MANIFEST},
    {"application/vnd.oci.artifact.manifest.v1+json", VARVE_MEDIA_ARTIFACT},
    {DOCKER "distribution.manifest.v1+json", VARVE_MEDIA_SCHEMA1},
    {DOCKER "distribution.manifest.v1+prettyjws", VARVE_MEDIA_SCHEMA1},
    {VARVE_MEDIA_OCI_CONFIG, VARVE_MEDIA_CONFIG},
    {DOCKER "container.image.v1+json", VARVE_MEDIA_CONFIG},
    {VARVE_MEDIA_OCI_LAYER, VARVE_MEDIA_LAYER},
    {VARVE_MEDIA_OCI_LAYER "+gzip", VARVE_MEDIA_LAYER},
    {VARVE_MEDIA_OCI_LAYER "+zstd", VARVE_MEDIA_LAYER},
    {DOCKER "image.rootfs.diff.tar", VARVE_MEDIA_LAYER},
    {DOCKER "image.rootfs.diff.tar.gzip", VARVE_MEDIA_LAYER},
    {DOCKER "image.rootfs.diff.tar.zstd", VARVE_MEDIA_LAYER},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar", VARVE_MEDIA_FOREIGN_LAYER},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", VARVE_MEDIA_FOREIGN_LAYER},
    {"application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", VARVE_MEDIA_FOREIGN_LAYER},
    {DOCKER "image.rootfs.foreign.diff.tar", VARVE_MEDIA_FOREIGN_LAYER},
    {DOCKER "image.rootfs.foreign.diff.tar.gzip", VARVE_MEDIA_FOREIGN_LAYER},
};

VarveMediaKind
varve_media_kind(const char *media_type)
{
    for (gsize i = 0; media_type != NULL && i < G_N_ELEMENTS(types); i++) {
        if (g_str_equal(types[i].name, media_type))
            return types[i].kind;
    }
    return VARVE_MEDIA_OTHER;
}

gboolean
varve_media_is_manifest(const char *media_type)
{
    VarveMediaKind kind = varve_media_kind(media_type);
    return kind >= VARVE_MEDIA_INDEX && kind <= VARVE_MEDIA_SCHEMA1;
}

/* Docker says ".tar.gzip" where OCI says ".tar+gzip". */
static char *
translate(const char *media_type, const char *theirs, const char *ours)
{
    if (!g_str_has_prefix(media_type, theirs))
        return NULL;
    const char *compression = media_type + strlen(theirs);
    return g_strconcat(ours, *compression == '.' ? "+" : "",
                       *compression == '.' ? compression + 1 : compression, NULL);
}

char *
varve_media_oci_layer(const char *media_type)
{
    static const char foreign[] = "application/vnd.oci.image.layer.nondistributable.v1.tar";
    char *name = translate(media_type, DOCKER "image.rootfs.diff.tar", VARVE_MEDIA_OCI_LAYER);
    if (name == NULL)
        name = translate(media_type, DOCKER "image.rootfs.foreign.diff.tar", foreign);
    return name != NULL ? name : g_strdup(media_type);
}
