/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_HTTP_TCP_H
#define VARVE_DAEMON_HTTP_TCP_H

#include <varve/error.h>

/* Listens at "ADDRESS:PORT", where an address of IPv6 stands in brackets. *local: only this host
 * can reach it. -1 with the error set. */
int varve_http_tcp_listen(const char *address, gboolean *local, GError **error);

#endif
