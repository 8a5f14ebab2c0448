/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_HTTP_H
#define VARVE_DAEMON_HTTP_H

/*
 * The HTTP API (docs/http-api.md): its sockets, and what its services share.
 *
 *     http-system.c     whether varved is well, and what it is
 *     http-metrics.c    its figures, for Prometheus
 *     http-pools.c      providers
 *     http-volumes.c    volumes
 *     http-images.c     images
 *     http-hosts.c      the other hosts that volumes are pulled from
 *     docker-volumes.c  volumes as docker and podman know them, on a socket and a server of its own
 *
 * A handler translates, and calls one function of the library.
 */

#include "daemon/config.h"
#include "rpc/grpc.h"
#include "rpc/http.h"

typedef struct VarveHttpApi VarveHttpApi;
typedef struct VarveHttpHosts VarveHttpHosts;

/* What the handlers' data is. */
typedef struct {
    VarveEngine *engine;
    VarveVolumes *volumes;
    VarveImages *images;
    VarveGrpcServer *grpc;
    VarveHttpHosts *hosts;
    VarveHttpServer *server;
    VarveHttpHub *volume_events;
    gint64 started; /* microseconds of the monotonic clock */
} VarveHttpContext;

extern const VarveHttpRoute varve_http_system_routes[];
extern const VarveHttpRoute varve_http_metrics_routes[];
extern const VarveHttpRoute varve_http_pool_routes[];
extern const VarveHttpRoute varve_http_volume_routes[];
extern const VarveHttpRoute varve_http_image_routes[];
extern const VarveHttpRoute varve_docker_routes[];

/* Takes the sockets; who connects waits. Takes the configuration's hosts, too. handed_over: GArray
 * of int, from systemd. */
VarveHttpApi *varve_http_api_new(VarveConfig *config, GArray *handed_over, GError **error);

/* Serves. All must outlive the API. */
gboolean varve_http_api_start(VarveHttpApi *self, VarveEngine *engine, VarveVolumes *volumes,
                              VarveGrpcServer *grpc, GError **error);

/* Replaces the other hosts by those of a configuration that was read again; what is under way goes
 * on with the ones before. */
void varve_http_api_set_hosts(VarveHttpApi *self, VarveConfig *config);

/* As of the server's functions of these names. */
void varve_http_api_stop(VarveHttpApi *self, guint grace_ms);
gboolean varve_http_api_finish(VarveHttpApi *self);
void varve_http_api_free(VarveHttpApi *self);

#endif
