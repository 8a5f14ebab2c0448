/* SPDX-License-Identifier: Apache-2.0 */
#include "engine-pool.h"
#include "base/tree.h"
#include <fcntl.h>

static void
open_engine(EnginePool *f)
{
    g_autoptr(GError) error = NULL;
    f->engine = varve_engine_open(f->dir, VARVE_ENGINE_DEFAULT, &error);
    g_assert_no_error(error);
    varve_engine_create_pool(f->engine, "p", "native", NULL, &error);
    if (!g_error_matches(error, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS))
        g_assert_no_error(error);
    g_clear_error(&error);
    f->pool = varve_engine_get_pool(f->engine, "p", &error);
    g_assert_no_error(error);
}

void
engine_pool_set_up(EnginePool *f, gconstpointer data)
{
    f->dir = g_dir_make_tmp("varve-lifecycle-XXXXXX", NULL);
    open_engine(f);
}

void
engine_pool_tear_down(EnginePool *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    varve_engine_close(f->engine);
    varve_tree_remove(AT_FDCWD, f->dir, NULL, &error);
    g_assert_no_error(error);
    g_free(f->dir);
}

void
engine_pool_reopen(EnginePool *f)
{
    varve_engine_close(f->engine);
    open_engine(f);
}
