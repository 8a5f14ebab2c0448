/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <varve/log.h>

#define MAX_FIELDS 16

static VarveLogFunc handler;
static gpointer handler_data;
static gint max_level = VARVE_LOG_INFO;

static const char *const level_names[] = {
    [VARVE_LOG_ERROR] = "error",
    [VARVE_LOG_WARNING] = "warning",
    [VARVE_LOG_INFO] = "info",
    [VARVE_LOG_DEBUG] = "debug",
};

void
varve_log_set_handler(VarveLogFunc func, gpointer data)
{
    handler = func;
    handler_data = data;
}

void
varve_log_set_level(VarveLogLevel level)
{
    g_atomic_int_set(&max_level, (gint)level);
}

void
varve_log(VarveLogLevel level, const char *message, ...)
{
    if (handler == NULL || (gint)level > g_atomic_int_get(&max_level))
        return;

    VarveLogField fields[MAX_FIELDS];
    gsize n = 0;
    va_list args;
    va_start(args, message);
    for (const char *key; n < MAX_FIELDS && (key = va_arg(args, const char *)) != NULL;) {
        const char *value = va_arg(args, const char *);
        if (value != NULL)
            fields[n++] = (VarveLogField){key, value};
    }
    va_end(args);
    handler(level, message, fields, n, handler_data);
}

const char *
varve_log_level_name(VarveLogLevel level)
{
    return level_names[level];
}

gboolean
varve_log_level_parse(const char *name, VarveLogLevel *level, GError **error)
{
    for (gsize i = 0; i < G_N_ELEMENTS(level_names); i++) {
        if (g_str_equal(name, level_names[i])) {
            *level = (VarveLogLevel)i;
            return TRUE;
        }
    }
    g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                "unknown log level '%s': use error, warning, info or debug", name);
    return FALSE;
}
