/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_ENGINE_POOL_H
#define VARVE_TESTS_ENGINE_POOL_H

/* An engine with a native pool, which needs no mounts and so no root; what is asked of it. */

#include "snapshot/internal.h"
#include <string.h>

typedef struct {
    char *dir;
    VarveEngine *engine;
    VarvePool *pool;
} EnginePool;

void engine_pool_set_up(EnginePool *f, gconstpointer data);
void engine_pool_tear_down(EnginePool *f, gconstpointer data);

/* Closes the engine and opens it again. */
void engine_pool_reopen(EnginePool *f);

#define OK(call)                                                                                   \
    G_STMT_START                                                                                   \
    {                                                                                              \
        g_autoptr(GError) error = NULL;                                                            \
        gboolean ok = call;                                                                        \
        g_assert_no_error(error);                                                                  \
        g_assert_true(ok);                                                                         \
    }                                                                                              \
    G_STMT_END

/* The call fails with that code, and its message holds the text. */
#define REFUSED(call, error_code, text)                                                            \
    G_STMT_START                                                                                   \
    {                                                                                              \
        g_autoptr(GError) error = NULL;                                                            \
        gboolean ok = call;                                                                        \
        g_assert_false(ok);                                                                        \
        g_assert_error(error, VARVE_ERROR, error_code);                                            \
        if (strstr(error->message, text) == NULL)                                                  \
            g_error("'%s' is not in: %s", text, error->message);                                   \
    }                                                                                              \
    G_STMT_END

#endif
