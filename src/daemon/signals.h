/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_DAEMON_SIGNALS_H
#define VARVE_DAEMON_SIGNALS_H

/* SIGTERM, SIGINT and SIGHUP as calls on a thread of their own: what they start may lock and
 * allocate, which a signal handler may not. */

#include <varve/error.h>

typedef struct VarveSignals VarveSignals;
typedef void (*VarveSignalFunc)(int number, gpointer data);

/* Holds the three back until there is a VarveSignals. To be called before any thread is started,
 * since threads inherit it. Also lets writes to closed sockets fail instead of killing. */
void varve_signals_block(void);

VarveSignals *varve_signals_new(VarveSignalFunc func, gpointer data, GError **error);

/* Returns when a call in progress has. */
void varve_signals_free(VarveSignals *self);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VarveSignals, varve_signals_free)

#endif
