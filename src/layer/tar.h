/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_TAR_H
#define VARVE_LAYER_TAR_H

/*
 * Reads tar archives: v7, ustar and pax (POSIX.1-2017, pax, "ustar Interchange Format"), GNU and
 * star (tar(5) of FreeBSD and GNU tar's manual, "Tar Internals"), their sparse files and xattrs.
 * Where dialects leave a choice, it is the one of Go's archive/tar, since that is what most layers
 * were written by and what all other engines read them with: two readers that disagree about where
 * an entry ends see different files. Nothing is copied of the content.
 */

#include "base/error.h"

#define VARVE_TAR_BLOCK 512

typedef enum {
    VARVE_TAR_FILE,
    VARVE_TAR_LINK, /* a hard link */
    VARVE_TAR_SYMLINK,
    VARVE_TAR_CHAR,
    VARVE_TAR_BLOCK_DEVICE,
    VARVE_TAR_DIRECTORY,
    VARVE_TAR_FIFO,
} VarveTarType;

typedef struct {
    char *name;
    guint8 *value;
    gsize size;
} VarveTarXattr;

/* What is said of a file. Times are what the archive says; strings end where it says, and hold no
 * NUL. */
typedef struct {
    VarveTarType type;
    char *name;   /* as it stands there: perhaps absolute, with "..", or with slashes at its end */
    char *target; /* of links */
    guint32 mode; /* permissions, setuid, setgid and sticky only */
    guint32 uid, gid;
    struct timespec mtime, atime; /* atime is mtime where none is given */
    guint32 major, minor;
    guint64 size; /* of the file; with sparse ones that is more than the archive has of it */
    gboolean sparse;
    VarveTarXattr *xattrs;
    gsize n_xattrs;
} VarveTarEntry;

/* Gives the next bytes of the archive, which live until the next call; *size is 0 at the end. */
typedef struct {
    gboolean (*next)(gpointer data, const guint8 **bytes, gsize *size, GError **error);
    gpointer data;
} VarveTarInput;

typedef struct VarveTar VarveTar;

VarveTar *varve_tar_new(VarveTarInput input);
void varve_tar_free(VarveTar *tar);

/* Goes to the next entry, whose content follows; it lives until the next call. *entry is NULL at
 * the archive's end: two blocks of zeros, whatever follows them. An archive that ends without is
 * truncated. */
gboolean varve_tar_next(VarveTar *tar, const VarveTarEntry **entry, GError **error);

/* The next piece of the entry's content, and where in the file it belongs; pieces are in order, and
 * what is between them are holes. *size is 0 at the end. */
gboolean varve_tar_read(VarveTar *tar, const guint8 **bytes, gsize *size, guint64 *offset,
                        GError **error);

/* Reads what follows the archive, to the input's end. */
gboolean varve_tar_drain(VarveTar *tar, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveTar, varve_tar_free)

#endif
