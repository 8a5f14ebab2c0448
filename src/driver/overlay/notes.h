/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DRIVER_OVERLAY_NOTES_H
#define VARVE_DRIVER_OVERLAY_NOTES_H

/*
 * What overlayfs notes in a layer of how it stands to the ones below it: in xattrs, and in
 * whiteouts (Documentation/filesystems/overlayfs.rst; fs/overlayfs/overlayfs.h in Linux has the
 * names).
 */

#include "base/attributes.h"

typedef enum {
    VARVE_OVERLAY_NOTES_TRUSTED, /* trusted.overlay.* */
    VARVE_OVERLAY_NOTES_USER,    /* user.overlay.*: in user namespaces; redirects do not count */
} VarveOverlayNotes;

/* Whether a file hides one of the layers below: a character device 0:0, or an empty file that says
 * so. st: the file's. */
gboolean varve_overlay_is_whiteout(VarveOverlayNotes notes, VarveFile file, const struct stat *st);

/* Whether a directory hides what the layers below have in it. */
gboolean varve_overlay_is_opaque(VarveOverlayNotes notes, VarveFile dir);

/* Whether a regular file's content is that of the file below. */
gboolean varve_overlay_is_metacopy(VarveOverlayNotes notes, VarveFile file);

/* Sets *path to the place that a directory or file had in the layers below when it was renamed:
 * from the root on if it begins with a slash, else a name in the directory that it is in. NULL when
 * there is none. What overlayfs would not take is VARVE_ERROR_CORRUPT. */
gboolean varve_overlay_redirect(VarveOverlayNotes notes, VarveFile file, char **path,
                                GError **error);

#endif
