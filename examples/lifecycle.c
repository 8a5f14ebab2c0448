/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot's life in libvarve. As root: mkdir /tmp/root /tmp/mnt; lifecycle /tmp/root /tmp/mnt
 * Build: cc lifecycle.c $(pkg-config --cflags --libs varve) */
#include <varve/varve.h>

static gboolean
print(const VarveSnapshotInfo *info, gpointer data, GError **error)
{
    g_print("%s: %s, parent '%s'\n", info->name, varve_kind_name(info->kind), info->parent);
    return TRUE;
}

/* Mounts an active snapshot, writes a file in it, unmounts it. */
static gboolean
fill(const VarveMount *mount, const char *target, GError **error)
{
    g_autofree char *file = g_build_filename(target, "hello", NULL);
    if (!varve_mount_attach(mount, target, error))
        return FALSE;
    gboolean written = g_file_set_contents(file, "hello, layer\n", -1, error);
    return varve_mount_detach(target, written ? error : NULL) && written;
}

static gboolean
live(const char *root, const char *target, GError **error)
{
    g_autoptr(VarveEngine) engine = varve_engine_open(root, VARVE_ENGINE_DEFAULT, error);
    VarvePool *pool = engine != NULL ? varve_engine_get_pool(engine, NULL, error) : NULL;
    g_autoptr(VarveMount) mount = NULL;

    return pool != NULL &&
           /* An empty writable snapshot; once committed, it never changes again. */
           varve_snapshot_prepare(pool, "fill-1", NULL, NULL, &mount, error) &&
           fill(mount, target, error) &&
           varve_snapshot_commit(pool, "base", "fill-1", NULL, NULL, error) &&
           /* A child of it starts as its content, and costs nothing until it is written to. */
           varve_snapshot_prepare(pool, "web", "base", NULL, NULL, error) &&
           varve_snapshot_walk(pool, NULL, print, NULL, error) &&
           varve_snapshot_remove(pool, "web", error) && varve_snapshot_remove(pool, "base", error);
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    if (argc == 3 && live(argv[1], argv[2], &error))
        return 0;
    g_printerr("%s\n", error != NULL ? error->message : "usage: lifecycle ROOT MOUNT-DIRECTORY");
    return 1;
}
