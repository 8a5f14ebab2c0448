/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SNAPSHOT_TREES_H
#define VARVE_SNAPSHOT_TREES_H

/* A snapshot's files and its parent's, as mounts show them, for the parts of Varve that read them
 * themselves. The mounts are seen by nobody else. */

#include <varve/changes.h>
#include <varve/snapshot.h>

typedef struct {
    VarvePool *pool;
    char *key;
    guint64 id;
    char *parent; /* its name; "" for none */
    int after;    /* all the snapshot's files; not to be written to */
    int before;   /* all its parent's; -1: it has none */
} VarveTrees;

#define VARVE_TREES_INIT                                                                           \
    {                                                                                              \
        .after = -1, .before = -1                                                                  \
    }

/* Opens an active or committed snapshot's. An active one may be mounted, and written to, meanwhile.
 * VARVE_ERROR_FAILED_PRECONDITION: it is a view, which has no changes. */
gboolean varve_snapshot_open_trees(VarvePool *pool, const char *key, VarveTrees *trees,
                                   GError **error);
void varve_trees_clear(VarveTrees *trees);

/* As varve_snapshot_changes(), without renames: what moved is told as deleted and added. */
gboolean varve_trees_changes(const VarveTrees *trees, VarveChangeFunc func, gpointer data,
                             GError **error);

/* Whether the snapshot is still what it was when it was opened. When it was removed meanwhile, what
 * was read of it is nothing to rely on. */
gboolean varve_trees_check(const VarveTrees *trees, GError **error);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveTrees, varve_trees_clear)

#endif
