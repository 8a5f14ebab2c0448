/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STREAM_TREE_H
#define VARVE_STREAM_TREE_H

/*
 * The tree that a stream is unpacked to: a way through its directories, in the order of the paths.
 * What is done in a directory changes its times; when it is left it gets those that it should have.
 * No symbolic link is followed, no mount is entered.
 */

#include "base/attributes.h"

typedef struct VarveStreamTree VarveStreamTree;

/* root stays the caller's. */
VarveStreamTree *varve_stream_tree_new(int root, GError **error);
void varve_stream_tree_free(VarveStreamTree *tree);

/* Goes to the directory that a path is in. *file is what the path names there; of the root, what
 * the descriptor is open on. It lives until the next call, the name as long as path.
 * VARVE_ERROR_CORRUPT: there is no such directory. */
gboolean varve_stream_tree_seek(VarveStreamTree *tree, const char *path, VarveFile *file,
                                GError **error);

/* Something in the directory is about to be made or removed: it keeps its times. */
gboolean varve_stream_tree_touch(VarveStreamTree *tree, GError **error);

/* Enters a directory of the one that it is in, or, with NULL, stays; it gets these times in the
 * end. *fd is the directory. */
gboolean varve_stream_tree_enter(VarveStreamTree *tree, const char *name,
                                 const struct timespec times[2], int *fd, GError **error);

/* Leaves all. */
gboolean varve_stream_tree_finish(VarveStreamTree *tree, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveStreamTree, varve_stream_tree_free)

#endif
