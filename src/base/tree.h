/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_TREE_H
#define VARVE_BASE_TREE_H

/*
 * Whole directory trees, by descriptor. No function follows a symbolic link or leaves the tree's
 * file system; all take trees of any depth (no recursion on the stack by depth, no path buffer that
 * can overflow), with hostile names and modes, and running as root.
 */

#include "base/error.h"
#include <varve/engine.h>

/* How long work is watched: the caller's wish to end it, and its wish to be told. Fields may be
 * NULL. */
typedef struct {
    const gint *cancelled;
    VarveProgressFunc progress;
    gpointer progress_data;
} VarveTreeWatch;

/* Removes name beneath dirfd, whatever it is, with everything in it. Succeeds when there is none.
 */
VARVE_SHARED gboolean varve_tree_remove(int dirfd, const char *name, const VarveTreeWatch *watch,
                                        GError **error);

/* Adds up allocated bytes and inodes of the tree, each hard-linked file once. */
gboolean varve_tree_usage(int dirfd, const char *name, gint64 *bytes, gint64 *inodes,
                          GError **error);

/* The same, leaving out every path that base (a directory descriptor) holds with the same type,
 * size, mtime, mode and owner. */
gboolean varve_tree_usage_beyond(int dirfd, const char *name, int basefd, gint64 *bytes,
                                 gint64 *inodes, GError **error);

/* Copies the directory src, with everything in it, to dstname (which must not exist) beneath dstfd:
 * content by reflink, else copy_file_range, else read and write; holes stay holes; owner, mode,
 * times to the nanosecond, xattrs (ACLs and file capabilities are some), hard links, device nodes,
 * fifos and sockets are kept, those of the top directory too. On failure dstname is gone again. */
gboolean varve_tree_copy(int srcfd, const char *srcname, int dstfd, const char *dstname,
                         const VarveTreeWatch *watch, GError **error);

/* The same, into a directory that is empty. On failure what was copied stays there. */
gboolean varve_tree_fill(int srcfd, int dstfd, const VarveTreeWatch *watch, GError **error);

/* Copies owner, mode, xattrs and times of the directory src to dst. Overlayfs's own xattrs stay
 * behind: they speak of the place that the directory has in a mount. */
gboolean varve_tree_copy_attributes(int srcfd, int dstfd, GError **error);

#endif
