/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_LOG_H
#define VARVE_LOG_H

/*
 * What the library has to say beside its return values: failures in background work, failures
 * while undoing, what recovery found. The library never prints; the program installs a handler.
 */

#include <varve/error.h>

G_BEGIN_DECLS

typedef enum {
    VARVE_LOG_ERROR,
    VARVE_LOG_WARNING,
    VARVE_LOG_INFO,
    VARVE_LOG_DEBUG,
} VarveLogLevel;

typedef struct {
    const char *key;
    const char *value;
} VarveLogField;

/* Called from any thread, one call per message. The fields live only during the call. */
typedef void (*VarveLogFunc)(VarveLogLevel level, const char *message, const VarveLogField *fields,
                             gsize n_fields, gpointer data);

/* Installs the process's handler; NULL drops messages (the default). Not to be called while other
 * threads use the library. */
VARVE_PUBLIC void varve_log_set_handler(VarveLogFunc func, gpointer data);

/* Messages above this level are dropped before they are formatted. Default: VARVE_LOG_INFO. May be
 * changed at any time, from any thread. */
VARVE_PUBLIC void varve_log_set_level(VarveLogLevel level);

/* Logs a message with fields given as "key", "value" string pairs, ended by NULL. A pair with a
 * NULL value is left out. */
VARVE_PUBLIC void varve_log(VarveLogLevel level, const char *message, ...) G_GNUC_NULL_TERMINATED;

/* "error", "warning", "info" or "debug". */
VARVE_PUBLIC const char *varve_log_level_name(VarveLogLevel level);
VARVE_PUBLIC gboolean varve_log_level_parse(const char *name, VarveLogLevel *level, GError **error);

G_END_DECLS

#endif
