/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SNAPSHOT_IDENTITY_H
#define VARVE_SNAPSHOT_IDENTITY_H

/*
 * The universal id of a committed snapshot: a UUID by which it is known in every store that it was
 * sent to, whatever its name is there. It is a label of its record. What has no need of one has
 * none.
 */

#include <varve/snapshot.h>

#define VARVE_LABEL_UUID "varve/uuid"

/* Whether text, which comes from outside, is a UUID as they are written here: lower-case. */
gboolean varve_uuid_check(const char *text, GError **error);

/* That of a committed snapshot; one that has none gets one, which is durable then. NULL with the
 * error set. */
char *varve_identity_of(VarvePool *pool, const char *name, GError **error);

/* The name of the committed snapshot that has it; NULL, without an error, when the pool has none.
 */
gboolean varve_identity_find(VarvePool *pool, const char *uuid, char **name, GError **error);

typedef struct {
    char *name;
    char *uuid;   /* NULL: it has none */
    gint64 bytes; /* that it takes beyond its parent; -1: nobody counted them yet */
} VarveAncestor;

/* A committed snapshot, its parent, and so on: GPtrArray of VarveAncestor*, which frees them. */
GPtrArray *varve_identity_lineage(VarvePool *pool, const char *name, GError **error);

#endif
