/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VOLUME_HOST_INTERNAL_H
#define VARVE_VOLUME_HOST_INTERNAL_H

/*
 *     hosts.c       the configured hosts
 *     ask.c         a host, and what it is asked in JSON
 *     offer.c       what there is here to go on with
 *     pull.c        snapshots from it
 *     push.c        snapshots to it
 *     replicate.c   all of it for a timer
 */

#include "rpc/http-client.h"
#include "volume/internal.h"
#include <varve/host.h>

/* --- hosts.c ------------------------------------------------------------------------------- */

/* Strings that are NULL were not told. */
typedef struct {
    char *name, *address, *ca, *certificate, *key, *token_file;
    guint timeout;
} VarveHostEntry;

const VarveHostEntry *varve_hosts_find(const VarveHosts *hosts, const char *name, GError **error);
VarveHostEntry *varve_host_entry_copy(const VarveHostEntry *entry);
void varve_host_entry_free(gpointer entry);

/* --- offer.c ------------------------------------------------------------------------------- */

/* The pool of a volume, or that in which it would be made; NULL without an error: there is none
 * yet. */
gboolean varve_volume_find_pool(VarveVolumes *volumes, const char *id, const char *provider,
                                VarvePool **pool, GError **error);

/* How many bytes are kept of that snapshot's stream; what is not known is nothing. */
guint64 varve_pool_kept_bytes(VarvePool *pool, const char *uuid);

/* --- ask.c --------------------------------------------------------------------------------- */

struct VarveHost {
    VarveEngine *engine;
    VarveHostEntry *entry; /* a copy, which the client points into */
    const VarveHttpClientFunctions *http;
    VarveHttpClient *client;
};

/* The path of a volume, and what follows it: "/storage/volumes/ID" and "/send". */
char *varve_host_path(const char *id, const char *rest);

/* Says that the answer is wrong, for which error tells why. Returns FALSE. */
gboolean varve_host_misread(const VarveHost *host, GError **error);

/* A volume as JSON. */
VarveVolumeInfo *varve_host_read_volume(const VarveHost *host, const json_t *value, GError **error);

/* The newest of VarveVolumeInfo* first. */
void varve_host_sort(GPtrArray *list);

/* A row of attempts at something that can break off. */
typedef struct {
    VarveHost *host;
    const VarveHostOptions *options;
    guint failures; /* in a row, none of which came further */
    guint64 came;   /* the most that had come before one */
} VarveHostAttempts;

/* Waits for the next one; FALSE: error, which is left, says what nobody can help, or it was tried
 * often enough. came: how much is on the other side. busy_helps: whether it may be that the other
 * side has not noticed yet that the connection is gone. */
gboolean varve_host_attempt_again(VarveHostAttempts *attempts, guint64 came, gboolean busy_helps,
                                  GError **error);

#endif
