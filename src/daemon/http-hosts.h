/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_HTTP_HOSTS_H
#define VARVE_DAEMON_HTTP_HOSTS_H

#include "daemon/http.h"

/* The other hosts, as the configuration names them at the moment. Any thread may use it. */
VarveHttpHosts *varve_http_hosts_new(void);
void varve_http_hosts_free(VarveHttpHosts *self);

/* Takes the configuration's, which has none then. */
void varve_http_hosts_set(VarveHttpHosts *self, VarveConfig *config);

/* As varve_host_open(). */
VarveHost *varve_http_hosts_open(VarveHttpHosts *self, const char *name, VarveEngine *engine,
                                 GError **error);

#endif
