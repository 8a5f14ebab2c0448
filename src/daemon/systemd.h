/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_SYSTEMD_H
#define VARVE_DAEMON_SYSTEMD_H

/* What varved says to and takes from systemd. Without it, at build or at run time, nothing happens.
 */

#include <varve/error.h>

/* The listening unix stream sockets that systemd handed over: GArrays of int, perhaps empty. Those
 * whose name (FileDescriptorName=) begins with "varved-http" are the HTTP API's. FALSE when it
 * handed over something else. */
gboolean varve_systemd_listeners(GArray **fds, GArray **http, GError **error);

/* Tells where the daemon is in its life; see sd_notify(3). */
void varve_systemd_ready(void);
void varve_systemd_reloading(void);
void varve_systemd_stopping(void);

#endif
