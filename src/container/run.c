/* SPDX-License-Identifier: Apache-2.0 */
#include "container/internal.h"
#include "container/spec.h"

typedef struct {
    VarveContainers *containers;
    VarvePool *pool;
    const VarveContainerOptions *options;
    char *runtime;
    VarveImageDetails *image;
    char *parent; /* the snapshot of its top layer; "" for an image without layers */
} Run;

static void
run_clear(Run *run)
{
    g_free(run->runtime);
    g_free(run->parent);
    g_clear_pointer(&run->image, varve_image_details_free);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Run, run_clear)

/* --- the image ---------------------------------------------------------------------------- */

static gboolean
find_image(Run *run, GError **error)
{
    const VarveContainerOptions *options = run->options;
    g_auto(VarveImageUnpacked) unpacked = {0};
    g_autoptr(VarveImages) images = varve_images_open(run->containers->engine, error);
    if (images == NULL)
        return FALSE;
    run->image = varve_images_inspect(images, options->image, options->platform, error);
    if (run->image == NULL || !varve_images_unpack(images, run->pool, options->image,
                                                   options->platform, &unpacked, error))
        return FALSE;
    if (g_strcmp0(unpacked.chain_id, run->image->chain_id) != 0)
        return varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                               "the name was led to another image meanwhile");
    run->parent = g_steal_pointer(&unpacked.chain_id);
    return TRUE;
}

/* --- the container ------------------------------------------------------------------------ */

static VarveContainerRecord *
new_record(const Run *run, const VarveBundle *bundle, GError **error)
{
    const VarveSpecSource source = {.options = run->options, .image = run->image->config};
    g_autoptr(VarveContainerRecord) record = g_new0(VarveContainerRecord, 1);
    record->runtime = g_strdup(run->runtime);
    record->cgroup = g_strdup_printf("/varve/%s-%08x", bundle->id, g_random_int());
    record->info = (VarveContainerInfo){
        .image = g_strdup(run->image->name),
        .image_digest = g_strdup(run->image->digest),
        .pool = g_strdup(varve_pool_get_name(run->pool)),
        .snapshot = g_strconcat("container/", bundle->id, NULL),
        .created = g_get_real_time() * 1000,
        .exit_status = -1,
        .remove = run->options->remove,
        .command = varve_spec_args(&source, error),
        .labels = run->options->labels != NULL ? g_hash_table_ref(run->options->labels) : NULL,
    };
    return record->info.command != NULL ? g_steal_pointer(&record) : NULL;
}

static gboolean
prepare(const Run *run, const VarveBundle *bundle, const VarveContainerRecord *record,
        VarveMount **mount, GError **error)
{
    g_autoptr(GHashTable) labels = g_hash_table_new(g_str_hash, g_str_equal);
    g_hash_table_insert(labels, (char *)VARVE_LABEL_CONTAINER, bundle->id);
    g_hash_table_insert(labels, (char *)VARVE_LABEL_IMAGE, record->info.image);
    g_hash_table_insert(labels, (char *)VARVE_LABEL_IMAGE_DIGEST, record->info.image_digest);
    return varve_snapshot_prepare(run->pool, record->info.snapshot, run->parent, labels, mount,
                                  error);
}

/* What was made for it goes again when it did not run, or was to go with its end. */
static gboolean
finish(const Run *run, const VarveBundle *bundle, VarveContainerRecord *record, gboolean ran,
       int status, GError **error)
{
    if (ran && !record->info.remove) {
        record->info.finished = g_get_real_time() * 1000;
        record->info.exit_status = status;
        return varve_container_record_write(bundle, record, error);
    }
    g_autoptr(GError) failure = NULL;
    if (varve_container_discard(run->containers, bundle, record, &failure))
        return TRUE;
    g_autofree char *what = g_strdup_printf("removing container '%s'", bundle->id);
    varve_error_log_undo(what,
                         g_steal_pointer(&failure)); /* what it returned is told all the same */
    return TRUE;
}

static gboolean
run_bundle(const Run *run, const VarveBundle *bundle, int *status, GError **error)
{
    g_autoptr(VarveMount) mount = NULL;
    g_autoptr(VarveContainerRecord) record = new_record(run, bundle, error);
    if (record == NULL || !varve_container_record_write(bundle, record, error) ||
        !prepare(run, bundle, record, &mount, error)) {
        (void)varve_bundle_remove(bundle, NULL);
        return FALSE;
    }
    const VarveStage stage = {.bundle = bundle,
                              .runtime = run->runtime,
                              .cgroup = record->cgroup,
                              .options = run->options,
                              .image = run->image->config,
                              .mount = mount};
    gboolean ran = varve_stage_run(&stage, status, error);
    return finish(run, bundle, record, ran, *status, ran ? error : NULL) && ran;
}

/* --- all of it ---------------------------------------------------------------------------- */

static gboolean
run_container(Run *run, int *status, GError **error)
{
    VarveContainerPrune swept;
    if (!varve_container_options_check(run->options, error))
        return FALSE;
    run->runtime = varve_runtime_find(run->options->runtime, error);
    if (run->runtime == NULL || !varve_containers_cleanup(run->containers, &swept, error) ||
        !find_image(run, error))
        return FALSE;
    g_autoptr(VarveBundle) bundle = varve_bundle_make(run->containers, run->options->id, error);
    return bundle != NULL && run_bundle(run, bundle, status, error);
}

gboolean
varve_containers_run(VarveContainers *containers, VarvePool *pool,
                     const VarveContainerOptions *options, int *status, GError **error)
{
    g_auto(Run) run = {.containers = containers, .pool = pool, .options = options};
    *status = 125;
    if (run_container(&run, status, error))
        return TRUE;
    g_prefix_error(error, "running image '%s': ", options->image);
    return FALSE;
}
