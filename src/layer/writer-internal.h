/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_WRITER_INTERNAL_H
#define VARVE_LAYER_WRITER_INTERNAL_H

/* For the files that implement writer.h. */

#include "base/fd.h"
#include "layer/directories.h"
#include "layer/made.h"
#include "layer/writer.h"
#include <linux/limits.h>
#include <sys/stat.h>

struct VarveWriter {
    const VarveLayerTarget *target;
    VarveDirectories *directories;
    gboolean exact_modes;
    uid_t uid; /* what a new file gets */
    gid_t gid;
    guint64 xattrs_dropped;
    gboolean has_whiteouts; /* it made some */
    /* Hashes of the paths that the layer made something at, for opaque directories, which keep
     * that; NULL where nothing else is in the tree. */
    VarveMade *made;
    guint64 seed;
};

#define VARVE_WHITEOUT_PREFIX ".wh."

/* Of names in the archive: that of a whiteout is longer than what it removes. */
#define VARVE_WRITER_NAME_MAX (NAME_MAX + sizeof VARVE_WHITEOUT_PREFIX - 1)

/* A path of the archive, taken apart: a directory in the tree, and a name in it. */
typedef struct {
    char directory[PATH_MAX];
    char name[VARVE_WRITER_NAME_MAX + 1]; /* empty: the root */
} VarveWriterPath;

/* Somewhere in the tree: a name in a directory of which a descriptor is at hand. */
typedef struct {
    VarveDirectory *directory;
    int dirfd;
    const char *name;
} VarvePlace;

/* --- writer.c -------------------------------------------------------------------------------- */

gboolean varve_writer_split(const char *text, VarveWriterPath *path, GError **error);

/* Remembers that the layer has something there. */
gboolean varve_writer_record(VarveWriter *writer, const VarvePlace *place, GError **error);
gboolean varve_writer_has_made(VarveWriter *writer, const char *path, gboolean *has,
                               GError **error);

/* Removes what is there, whatever it is. */
gboolean varve_writer_remove(VarveWriter *writer, const VarvePlace *place, GError **error);

/* --- writer-attributes.c --------------------------------------------------------------------- */

/* fd: what is there, or -1 for what cannot be opened. mode: of what was made, so far. */
gboolean varve_writer_set_attributes(VarveWriter *writer, const VarvePlace *place, int fd,
                                     const VarveTarEntry *entry, mode_t mode, GError **error);

/* The mode to make something with: its own, but for what its owner is needed for first, and with
 * all that is needed to work in a directory. */
mode_t varve_writer_first_mode(const VarveTarEntry *entry);

/* For directories: those that a merged one has and the entry has not are removed. */
gboolean varve_writer_set_directory(VarveWriter *writer, const VarvePlace *place,
                                    VarveDirectory *directory, const VarveTarEntry *entry,
                                    gboolean merged, GError **error);

/* --- writer-files.c -------------------------------------------------------------------------- */

gboolean varve_writer_make_file(VarveWriter *writer, const VarvePlace *place, VarveTar *tar,
                                const VarveTarEntry *entry, GError **error);
gboolean varve_writer_make_link(VarveWriter *writer, const VarvePlace *place,
                                const VarveTarEntry *entry, GError **error);
gboolean varve_writer_make_symlink(VarveWriter *writer, const VarvePlace *place,
                                   const VarveTarEntry *entry, GError **error);
gboolean varve_writer_make_node(VarveWriter *writer, const VarvePlace *place,
                                const VarveTarEntry *entry, GError **error);
gboolean varve_writer_make_directory(VarveWriter *writer, const VarvePlace *place,
                                     const VarveTarEntry *entry, GError **error);

/* --- whiteouts.c ----------------------------------------------------------------------------- */

gboolean varve_writer_whiteout(VarveWriter *writer, const VarveWriterPath *path, GError **error);

#endif
