/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"
#include "base/fd.h"
#include "image/media-types.h"
#include "image/mounts.h"
#include "layer/apply.h"
#include <sys/stat.h>
#include <unistd.h>
#include <varve/layer.h>

/* Layers into snapshots that are known by their mounts: SPEC rows L5, L7 and L8. */

/* Digests of other algorithms are right, only not known here. */
static gboolean
check_digest(const char *digest, GError **error)
{
    if (g_str_has_prefix(digest, "sha384:") || g_str_has_prefix(digest, "sha512:"))
        return varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                               "digests other than of SHA-256 are not supported");
    return varve_digest_check(digest, error);
}

static gboolean
check_blob(const VarveMountsBlob *blob, GError **error)
{
    VarveMediaKind kind = varve_media_kind(blob->media_type);
    if (kind != VARVE_MEDIA_LAYER && kind != VARVE_MEDIA_FOREIGN_LAYER)
        return varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                               "the media type '%s' is none of a layer that Varve knows",
                               blob->media_type);
    return check_digest(blob->digest, error);
}

static gboolean
unpack(VarveEngine *engine, VarveMount *const *mounts, const VarveMountsBlob *blob,
       VarveLayerInfo *info, GError **error)
{
    g_auto(VarvePlace) place = VARVE_PLACE_INIT;
    if (!check_blob(blob, error) || !varve_mounts_open_place(engine, mounts, &place, error))
        return FALSE;
    const VarveLayerTarget target = {
        .root = place.root,
        .parent = place.below,
        .whiteouts = place.layer ? VARVE_WHITEOUTS_OVERLAY : VARVE_WHITEOUTS_REMOVE,
        .fresh = place.empty,
        .digest = blob->digest,
        .watch = {.cancelled = blob->cancelled},
    };
    if (!varve_layer_apply(blob->source, &target, info, error))
        return FALSE;
    if (!blob->sync || syncfs(place.root) == 0)
        return TRUE;
    varve_error_set_errno(error, errno, "syncing the file system");
    varve_layer_info_clear(info);
    return FALSE;
}

gboolean
varve_mounts_unpack(VarveEngine *engine, VarveMount *const *mounts, const VarveMountsBlob *blob,
                    VarveLayer *layer, GError **error)
{
    VarveLayerInfo info = {0};
    *layer = (VarveLayer){0};
    if (!unpack(engine, mounts, blob, &info, error)) {
        g_prefix_error(error, "unpacking layer %s: ", blob->digest);
        return FALSE;
    }
    *layer = (VarveLayer){
        .diff_id = info.diff_id,
        .digest = info.digest,
        .media_type = VARVE_MEDIA_OCI_LAYER,
        .size = info.compressed,
        .plain = info.plain,
        .entries = info.entries,
    };
    return TRUE;
}

/* --- blobs ----------------------------------------------------------------------------------- */

static int
open_blob(const char *directory, const char *digest, guint64 *size, GError **error)
{
    if (!check_digest(digest, error))
        return -1;
    varve_autofd dir = varve_fd_open_dir(AT_FDCWD, directory, error);
    if (dir < 0)
        return -1;
    varve_autofd blobs = varve_fd_open_dir(dir, "blobs/sha256", error);
    if (blobs < 0)
        return -1;
    struct stat st;
    varve_autofd fd =
        openat(blobs, varve_digest_hex(digest), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT) {
        varve_error_set(error, VARVE_ERROR_NOT_FOUND, "it is not there");
        return -1;
    }
    if (fd < 0 || fstat(fd, &st) < 0) {
        varve_error_set_errno(error, errno, "opening it");
        return -1;
    }
    if (!S_ISREG(st.st_mode)) {
        varve_error_set(error, VARVE_ERROR_CORRUPT, "it is no regular file");
        return -1;
    }
    if (size != NULL)
        *size = (guint64)st.st_size;
    int result = fd;
    fd = -1;
    return result;
}

int
varve_blob_open(const char *directory, const char *digest, guint64 *size, GError **error)
{
    int fd = open_blob(directory, digest, size, error);
    if (fd < 0)
        g_prefix_error(error, "blob %s in %s: ", digest, directory);
    return fd;
}
