/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_DRIVER_POOL_H
#define VARVE_TESTS_DRIVER_POOL_H

/* A pool on a file system of its own, and what tests do with one. What fails, fails the test. */

#include "driver/driver.h"
#include "scratch.h"

/* What a test of a driver gets as its data. */
typedef struct {
    const VarveDriver *driver;
    const char *type; /* of the file system, as scratch_new() has it */
} PoolCase;

typedef struct {
    const VarveDriver *driver;
    Scratch *scratch;
    VarveDriverHost host;
    gpointer self;
    char *target; /* where snapshots are mounted */
} Pool;

/* NULL, with the test skipped, when it cannot be made here. */
Pool *pool_new(const PoolCase *of);

/* Has the driver take all away; what is not, or what is still open, fails the test. */
void pool_free(Pool *pool);

/* Closes it and opens it as an existing one. */
void pool_reopen(Pool *pool);

/* snapshot(kind, id, parent, its parent, ...) */
#define snapshot(...)                                                                              \
    (&(const VarveDriverSnapshot[]){pool_make_snapshot((guint64[]){__VA_ARGS__, 0})}[0])
#define ACTIVE VARVE_KIND_ACTIVE
#define VIEW   VARVE_KIND_VIEW

/* Reads kind, id and parents up to the first 0; the parents stay where they are. */
VarveDriverSnapshot pool_make_snapshot(const guint64 *values);

void pool_create(Pool *pool, const VarveDriverSnapshot *of);
void pool_commit(Pool *pool, guint64 id);
void pool_discard(Pool *pool, guint64 id);

/* Mounts it; returns the root's descriptor, which goes to pool_detach(). */
int pool_attach(Pool *pool, const VarveDriverSnapshot *of);
void pool_detach(Pool *pool, int root);

/* Files below a snapshot's root. text NULL: there must be none. */
void pool_write_file(int root, const char *name, const char *text);
void pool_assert_file(int root, const char *name, const char *text);
void pool_assert_read_only(int root);

/* ids: POOL_ID(n) or-ed for each id that must be listed; no other one up to 63 may be. */
#define POOL_ID(n) (G_GUINT64_CONSTANT(1) << (n))
void pool_assert_listed(Pool *pool, guint64 ids);

#endif
