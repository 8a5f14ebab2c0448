/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_DAEMON_H
#define VARVE_DAEMON_DAEMON_H

/*
 * varved's life: it takes its socket, opens the engine and the pools, serves until it is told to
 * stop, finishes what is in flight and closes all again.
 *
 *     main.c               the command line
 *     daemon.c             the life, and what signals do to it
 *     config.c             the configuration file
 *     pools.c              its pools, and who answers for which name
 *     snapshots-service.c, wire.c    containerd's snapshot API
 *     diff-service.c, diff-wire.c    containerd's diff API
 *     content-read.c, content-write.c    containerd's blobs
 *     http.c, http-*.c    the HTTP API, and docker's for volumes
 *     socket.c, signals.c, systemd.c, log-writer.c    the process's surroundings
 */

#include "daemon/config.h"

/* The command line. What is NULL is left to the configuration file. */
typedef struct {
    char *config; /* NULL: the default file, which may be missing */
    char *root, *socket, *log_level;
} VarveDaemonOptions;

/* The configuration file with the options over it, checked. */
VarveConfig *varve_daemon_load(const VarveDaemonOptions *options, GError **error);

/* Runs the daemon until SIGTERM or SIGINT. Signals must be blocked (signals.h). */
gboolean varve_daemon_run(const VarveDaemonOptions *options, GError **error);

#endif
