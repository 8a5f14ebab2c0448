/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LAYER_PACKAGE_H
#define VARVE_LAYER_PACKAGE_H

/*
 * Packages changes as a layer, as OCI's image specification (layer.md) has it: apply.h the other
 * way round.
 *
 *     what was added, modified     an entry with all that the file has; of a file, all its content
 *     or replaced
 *     what was deleted             a whiteout, an empty file .wh.NAME
 *     a directory that something   its own entry comes first, changed or not; that of the tree's
 *     in it changed                root, "./", only if it changed
 *     several names of one file    the first one in the layer has the content, the others are hard
 *                                  links to it. A name of one that is not in the layer has none
 *                                  there, and so gets the content
 *     sockets                      are left out: they mean something to a process only
 *
 * Entries come in the order of their paths, whiteouts where the file was. No directory is marked as
 * opaque: what is gone from one that was made anew is told name by name, which all readers
 * understand the same way. Nothing in the layer depends on when, where or in how many threads it is
 * made, so the same changes are the same bytes.
 *
 * A tree may change while it is read. A file has the size that it has when it is opened: what it
 * grows by is left out, what it lacks in the end is zeros. What vanished is left out, or whited
 * out. The layer is whole, whatever happens; how many files changed under the reading is counted.
 *
 * What a layer cannot say is an error that names it, VARVE_ERROR_FAILED_PRECONDITION: files whose
 * names begin with ".wh.", paths of more than some 4090 bytes, and the deletion of a file whose
 * name has more than 251.
 */

#include "base/stream.h"
#include "base/tree.h"
#include "layer/compression.h"
#include <varve/changes.h>

typedef struct {
    /* Calls func for each change, in the order of varve/changes.h, none of them a rename. */
    gboolean (*tell)(gpointer data, VarveChangeFunc func, gpointer func_data, GError **error);
    gpointer data;
} VarveChangeSource;

typedef struct {
    int root; /* of the tree that has the changes */
    VarveChangeSource changes;
    VarveCompression compression;
    guint threads; /* that compress; 0: one for each processor */
    /* Files that are newer get this time, in seconds since 1970, and so do whiteouts, whose time
     * else is 0; NULL: files have their own. */
    const gint64 *latest;
    VarveTreeWatch watch;
} VarvePackage;

typedef struct {
    char *diff_id, *digest;    /* of the archive, and of it compressed */
    guint64 plain, compressed; /* bytes */
    guint64 entries;           /* whiteouts and directories on the way among them */
    guint64 whiteouts;
    guint64 sockets; /* left out */
    guint64 unquiet; /* files that changed while they were read */
} VarvePackageInfo;

void varve_package_info_clear(VarvePackageInfo *info);

/* Asks for the changes and reads the files in the calling thread; the sink is called in another
 * one. info is set on success. */
gboolean varve_layer_package(const VarvePackage *package, VarveSink sink, VarvePackageInfo *info,
                             GError **error);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarvePackageInfo, varve_package_info_clear)

#endif
