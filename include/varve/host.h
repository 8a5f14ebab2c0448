/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_HOST_H
#define VARVE_HOST_H

/*
 * Volumes between hosts: one runs varved, which is asked for snapshots or handed them.
 *
 *     hosts       those that the configuration names, and how each is reached; no other one is
 *     pull        has another host send a snapshot, and receives it into a volume here
 *     push        sends a snapshot to another host, which receives it into a volume there
 *     replicate   takes a snapshot, pushes it, and removes those that are too many, on both sides:
 *                 for a timer
 *
 * What is sent is the difference to the newest snapshot that both have, by the pools' universal ids
 * (transfer.h). A transfer that breaks off goes on where it was when the other side is reached
 * again, also in another process.
 *
 * Threads: as in engine.h; one host is one thread's at a time.
 */

#include <varve/volume.h>

G_BEGIN_DECLS

/* --- hosts --------------------------------------------------------------------------------- */

typedef struct VarveHosts VarveHosts;

VARVE_PUBLIC VarveHosts *varve_hosts_new(void);
VARVE_PUBLIC void varve_hosts_free(VarveHosts *hosts);

/* Of a file as varved's (sections.h), the sections [host NAME]; others are not looked at. */
VARVE_PUBLIC VarveHosts *varve_hosts_load(const char *file, GError **error);

/* A host of that name: a letter or digit, then those and "_.-", at most 64. */
VARVE_PUBLIC gboolean varve_hosts_add(VarveHosts *hosts, const char *name, GError **error);

/* One of the settings of varve_host_settings. */
VARVE_PUBLIC gboolean varve_hosts_set(VarveHosts *hosts, const char *name, const char *setting,
                                      const char *value, GError **error);

/* What may be told of a host, ended by a NULL name. */
typedef struct {
    const char *name, *summary, *fallback;
} VarveHostSetting;
extern VARVE_PUBLIC const VarveHostSetting varve_host_settings[];

typedef struct VarveHost VarveHost;

/* Nothing is sent before something is asked. The engine, whose cancellation ends what waits, must
 * outlive it; hosts need not. VARVE_ERROR_NOT_FOUND: there is none of that name. */
VARVE_PUBLIC VarveHost *varve_host_open(const VarveHosts *hosts, const char *name,
                                        VarveEngine *engine, GError **error);
VARVE_PUBLIC void varve_host_close(VarveHost *host);
VARVE_PUBLIC const char *varve_host_get_name(const VarveHost *host);

/* --- asking -------------------------------------------------------------------------------- */

/* As of the functions of volume.h; paths are those of the other host. Errors are those that it
 * told; VARVE_ERROR_UNAVAILABLE: it was not reached, VARVE_ERROR_PERMISSION_DENIED: it does not let
 * us in. */
VARVE_PUBLIC VarveVolumeInfo *varve_host_inspect(VarveHost *host, const char *id, GError **error);
VARVE_PUBLIC VarveVolumeInfo *varve_host_snapshot(VarveHost *host, const char *id, GError **error);

/* What is to be pulled of a volume: its newest snapshot, or one that is taken now; or, if that is
 * what id is, a snapshot. VARVE_ERROR_FAILED_PRECONDITION: the volume has none; or one is to be
 * taken of a snapshot. */
VARVE_PUBLIC VarveVolumeInfo *varve_host_choose(VarveHost *host, const char *id, gboolean take,
                                                GError **error);

/* The snapshots that were taken of a volume, the newest first: GPtrArray of VarveVolumeInfo*. */
VARVE_PUBLIC GPtrArray *varve_host_snapshots(VarveHost *host, const char *id, GError **error);

VARVE_PUBLIC gboolean varve_host_destroy(VarveHost *host, const char *id, VarveVolumesOthers others,
                                         GError **error);

/* --- what a receiver has ------------------------------------------------------------------- */

/* What a sender needs to know to send no more than it must. */
typedef struct {
    char **haves;   /* universal ids of snapshots, the newest first */
    char **formats; /* of a driver's own that are taken */
    char *resume;   /* the token of what is kept of a transfer; NULL: nothing is */
    guint64 kept;   /* how many bytes of it */
} VarveOffer;

VARVE_PUBLIC void varve_offer_clear(VarveOffer *offer);

/* What there is for the volume id to receive the snapshot of that universal id (NULL: none), in its
 * pool, or in the one in which it would be made. VARVE_ERROR_BUSY: the snapshot is being received;
 * VARVE_ERROR_NOT_FOUND: there is no such provider. */
VARVE_PUBLIC gboolean varve_volumes_offer(VarveVolumes *volumes, const char *id,
                                          const char *provider, const char *uuid, VarveOffer *offer,
                                          GError **error);

/* --- moving -------------------------------------------------------------------------------- */

/* What is NULL or 0 is a default. */
typedef struct {
    const char *name;     /* of the snapshot where it goes; the one that it has */
    const char *provider; /* of a volume that is made */
    guint attempts;       /* how often in a row it is tried in vain; 5 */
    VarveTransferProgressFunc progress;
    /* Told why the connection broke, and in how many seconds it is tried again. */
    void (*retry)(const GError *why, guint seconds, gpointer data);
    gpointer data; /* of both */
} VarveHostOptions;

/* Has a snapshot of the host sent, and received into the volume id as varve_volumes_receive() does.
 * Where the volume stands on that snapshot already nothing is done, and transfer tells of no bytes.
 * options and transfer may be NULL. */
VARVE_PUBLIC VarveVolumeInfo *varve_volumes_pull(VarveVolumes *volumes, VarveHost *host,
                                                 const char *snapshot, const char *id,
                                                 const VarveHostOptions *options,
                                                 VarveTransfer *transfer, GError **error);

/* Sends a snapshot into the volume id of the host; the result is the snapshot there. */
VARVE_PUBLIC VarveVolumeInfo *varve_volumes_push(VarveVolumes *volumes, const char *snapshot,
                                                 VarveHost *host, const char *id,
                                                 const VarveHostOptions *options,
                                                 VarveTransfer *transfer, GError **error);

/* --- replicating --------------------------------------------------------------------------- */

/* Snapshots of a replication have this pair of meta: the name of the host that they are for. Those
 * without it are never removed. */
#define VARVE_REPLICATE_META "varve.replicate"

typedef struct {
    guint removed; /* snapshots */
    guint kept;    /* of the replication's own */
    char *problem; /* why there are more than there should be; NULL: there are not */
} VarvePruned;

typedef struct {
    char *snapshot; /* its id on both sides */
    char *uuid;
    char *finished; /* the id of one that an earlier run had not sent whole; NULL: there was none */
    guint64 bytes;  /* that travelled, of both */
    guint64 resumed; /* that had come before, and did not again */
    gboolean full;   /* nothing was there to send the difference to */
    VarvePruned here, there;
} VarveReplication;

VARVE_PUBLIC void varve_replication_clear(VarveReplication *replication);

/* Takes a snapshot of a volume, has the host's volume of the same id become it, and removes the
 * replication's oldest snapshots so that keep, at least 1, are left on each side; only where their
 * driver can remove what others stand on (not overlay), which is no failure. What an earlier run
 * did not finish is finished first. Killed at any time, the next one goes on.
 * VARVE_ERROR_BUSY: the volume is being replicated already. */
VARVE_PUBLIC gboolean varve_volumes_replicate(VarveVolumes *volumes, const char *id,
                                              VarveHost *host, guint keep,
                                              const VarveHostOptions *options,
                                              VarveReplication *result, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveHosts, varve_hosts_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveHost, varve_host_close)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveOffer, varve_offer_clear)
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VarveReplication, varve_replication_clear)

G_END_DECLS

#endif
