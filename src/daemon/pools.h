/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_POOLS_H
#define VARVE_DAEMON_POOLS_H

/*
 * varved's pools: all of the store's, after those of the configuration that were missing have been
 * made; and which of them answers for a snapshotter name.
 *
 * A pool that cannot be made or opened does not stop the others. It is refused, with the reason, to
 * whoever asks for it by name, even where a fallback pool is set: content must not end up in
 * another pool than the one it was meant for.
 */

#include "daemon/config.h"

typedef struct VarvePools VarvePools;

/* Checks what a configuration says of pools, without any store. The error names file and line. */
gboolean varve_pools_check(const VarveConfig *config, GError **error);

/* The engine must outlive the pools. */
VarvePools *varve_pools_new(VarveEngine *engine);
void varve_pools_free(VarvePools *self);
VarveEngine *varve_pools_get_engine(VarvePools *self);

/* Makes the configuration hold: at start, and again when it was read anew. Logs what came of each
 * pool. One thread at a time; varve_pools_find() may run beside it. */
void varve_pools_apply(VarvePools *self, const VarveConfig *config);

/* The pool that answers for a snapshotter name; "" means the fallback pool, or the engine's default
 * one. Belongs to the engine. */
VarvePool *varve_pools_find(VarvePools *self, const char *snapshotter, GError **error);

/* Appends the section [pool NAME] with every setting of every driver, commented out. */
void varve_pools_describe(GString *text);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarvePools, varve_pools_free)

#endif
