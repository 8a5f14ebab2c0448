/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <varve/varve.h>

/* Finds what changed in a snapshot by the library, again and again. Prints for each time how long
 * it took and how many changes there were, as a line of JSON. */

static gboolean
count(const VarveChange *change, gpointer data, GError **error)
{
    ++*(guint *)data;
    return TRUE;
}

static gboolean
measure(VarvePool *pool, const char *key, GError **error)
{
    guint changes = 0;
    gint64 begin = g_get_monotonic_time();
    if (!varve_snapshot_changes(pool, key, count, &changes, error))
        return FALSE;
    printf("{\"seconds\": %.6f, \"changes\": %u}\n",
           (double)(g_get_monotonic_time() - begin) / G_USEC_PER_SEC, changes);
    return TRUE;
}

static gboolean
run(const char *root, const char *name, const char *key, int repeat, GError **error)
{
    VarveEngine *engine =
        varve_engine_open(root, VARVE_ENGINE_NO_RECOVERY | VARVE_ENGINE_MUST_EXIST, error);
    if (engine == NULL)
        return FALSE;
    VarvePool *pool = varve_engine_get_pool(engine, name, error);
    gboolean ok = pool != NULL;
    for (int i = 0; ok && i < repeat; i++)
        ok = measure(pool, key, error);
    varve_engine_close(engine);
    return ok;
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    if (argc != 5) {
        fprintf(stderr, "usage: differ ROOT POOL KEY TIMES\n");
        return 2;
    }
    if (run(argv[1], argv[2], argv[3], atoi(argv[4]), &error))
        return 0;
    fprintf(stderr, "differ: %s\n", error->message);
    return error->domain == VARVE_ERROR && error->code == VARVE_ERROR_NOT_IMPLEMENTED ? 3 : 1;
}
