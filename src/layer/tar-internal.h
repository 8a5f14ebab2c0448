/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_TAR_INTERNAL_H
#define VARVE_LAYER_TAR_INTERNAL_H

/* For the files that implement tar.h. */

#include "layer/tar.h"

/* --- one header block: tar-header.c ---------------------------------------------------------- */

typedef struct {
    char type; /* its flag, as it stands there */
    gboolean gnu;
    char name[100 + 1 + 155 + 1];
    char target[100 + 1];
    guint64 size;
    guint32 mode, uid, gid, major, minor;
    gint64 mtime, atime;
    gboolean has_atime;
} VarveTarHeader;

gboolean varve_tar_header_is_zero(const guint8 *block);
gboolean varve_tar_header_parse(const guint8 *block, VarveTarHeader *header, GError **error);

/* A number in a header's field: octal digits, or GNU's binary. */
gboolean varve_tar_number(const guint8 *field, gsize size, gint64 *number);

/* --- pax records: tar-pax.c ------------------------------------------------------------------ */

typedef struct {
    guint64 offset, size;
} VarveTarSegment;

/* Strings are part of the body that was parsed. NULL, or has_...: not said. */
typedef struct {
    char *path, *target;
    gboolean has_size, has_uid, has_gid, has_mtime, has_atime;
    guint64 size;
    guint32 uid, gid;
    struct timespec mtime, atime;
    GArray *xattrs; /* VarveTarXattr */
    /* GNU sparse files: format 1.0, or the map of 0.0 and 0.1. */
    gboolean sparse, sparse_in_content, has_real_size;
    char *sparse_name;
    guint64 real_size;
    GArray *segments; /* VarveTarSegment */
    guint64 sparse_offset;
    gboolean has_sparse_offset;
    char *sparse_major, *sparse_minor;
} VarveTarPax;

/* Forgets what was said. */
void varve_tar_pax_reset(VarveTarPax *pax);

/* Parses the body of an extended header, which is changed by it; it must end with a NUL that size
 * does not count. */
gboolean varve_tar_pax_parse(VarveTarPax *pax, char *body, gsize size, GError **error);

/* Digits only. */
gboolean varve_tar_decimal(const char *text, gsize size, guint64 *number);

/* --- sparse maps: tar-sparse.c --------------------------------------------------------------- */

/* Four megabytes of them; what Go reads of a map, a megabyte of text, has no more. */
#define VARVE_TAR_MAX_SEGMENTS ((guint)1 << 18)

/* Takes the segments of a GNU header or of one of its extensions; *more: another one follows. */
gboolean varve_tar_sparse_header(const guint8 *block, GArray *segments, guint64 *real_size,
                                 gboolean *more, GError **error);
gboolean varve_tar_sparse_extension(const guint8 *block, GArray *segments, gboolean *more,
                                    GError **error);

/* Reads a map of format 1.0, block by block. */
typedef struct {
    guint64 number;
    gboolean digits;
    guint64 expected; /* numbers; G_MAXUINT64 as long as that is not known */
    guint64 seen;
    guint64 offset;
} VarveTarSparseText;

void varve_tar_sparse_text_begin(VarveTarSparseText *text);
gboolean varve_tar_sparse_text(VarveTarSparseText *text, const guint8 *block, GArray *segments,
                               gboolean *more, GError **error);

gboolean varve_tar_sparse_add(GArray *segments, guint64 offset, guint64 size, GError **error);

/* Segments must be in order, apart, inside the file, and be what is stored. */
gboolean varve_tar_sparse_check(const GArray *segments, guint64 real_size, guint64 stored,
                                GError **error);

#endif
