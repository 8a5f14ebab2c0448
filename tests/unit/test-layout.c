/* SPDX-License-Identifier: Apache-2.0 */
/* Images in and out: OCI layouts, archives, Docker's archives, honest and hostile ones; names and
 * what is left when they are gone. SPEC rows L6 and L7. */
#include "base/digest.h"
#include "base/fd.h"
#include "base/listing.h"
#include "base/tree.h"
#include "image/media-types.h"
#include <archive.h>
#include <archive_entry.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <varve/image.h>

typedef struct {
    char *dir, *root;
    VarveEngine *engine;
    VarveImages *images;
} Fixture;

static void
set_up(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    f->dir = g_dir_make_tmp("varve-layout-XXXXXX", NULL);
    f->root = g_build_filename(f->dir, "root", NULL);
    f->engine = varve_engine_open(f->root, VARVE_ENGINE_DEFAULT, &error);
    g_assert_no_error(error);
    f->images = varve_images_open(f->engine, &error);
    g_assert_no_error(error);
}

static void
tear_down(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    varve_images_close(f->images);
    varve_engine_close(f->engine);
    varve_tree_remove(AT_FDCWD, f->dir, NULL, &error);
    g_assert_no_error(error);
    g_free(f->root);
    g_free(f->dir);
}

/* --- making images ---------------------------------------------------------------------------- */

/* The blobs of an archive to be, in the order of their making. */
typedef struct {
    GPtrArray *texts, *digests;
    GString *manifests; /* of index.json */
} Maker;

static void
maker_init(Maker *m)
{
    m->texts = g_ptr_array_new_with_free_func(g_free);
    m->digests = g_ptr_array_new_with_free_func(g_free);
    m->manifests = g_string_new(NULL);
}

static void
maker_clear(Maker *m)
{
    g_ptr_array_unref(m->texts);
    g_ptr_array_unref(m->digests);
    g_string_free(m->manifests, TRUE);
}

static const char *
add_blob(Maker *m, const char *text)
{
    char *digest = varve_digest_of(text, strlen(text));
    g_ptr_array_add(m->texts, g_strdup(text));
    g_ptr_array_add(m->digests, digest);
    return digest;
}

static char *
describe(const char *media_type, const char *digest, gsize size, const char *more)
{
    return g_strdup_printf("{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu%s}", media_type,
                           digest, size, more);
}

/* A manifest with one layer of that content. Its blobs are the last three: layer, config, manifest.
 * Returns its descriptor. */
static char *
add_image(Maker *m, const char *layer, const char *architecture, const char *more)
{
    const char *layer_digest = add_blob(m, layer);
    g_autofree char *config =
        g_strdup_printf("{\"os\":\"linux\",\"architecture\":\"%s\",\"config\":{\"Cmd\":[\"sh\"]},"
                        "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\"]}}",
                        architecture, layer_digest);
    const char *config_digest = add_blob(m, config);
    g_autofree char *c = describe(VARVE_MEDIA_OCI_CONFIG, config_digest, strlen(config), "");
    g_autofree char *l = describe(VARVE_MEDIA_OCI_LAYER, layer_digest, strlen(layer), "");
    g_autofree char *manifest =
        g_strdup_printf("{\"schemaVersion\":2,\"config\":%s,\"layers\":[%s]}", c, l);
    const char *digest = add_blob(m, manifest);
    return describe(VARVE_MEDIA_OCI_MANIFEST, digest, strlen(manifest), more);
}

static void
offer(Maker *m, const char *descriptor)
{
    g_string_append_printf(m->manifests, "%s%s", m->manifests->len > 0 ? "," : "", descriptor);
}

#define REF(name)  ",\"annotations\":{\"org.opencontainers.image.ref.name\":\"" name "\"}"
#define NAME(name) ",\"annotations\":{\"io.containerd.image.name\":\"" name "\"}"

static char *
index_of(const Maker *m)
{
    return g_strdup_printf("{\"schemaVersion\":2,\"manifests\":[%s]}", m->manifests->str);
}

/* --- making archives -------------------------------------------------------------------------- */

typedef struct {
    char *path;
    struct archive *archive;
} Tar;

static void
tar_begin(Fixture *f, Tar *tar, const char *name)
{
    tar->path = g_build_filename(f->dir, name, NULL);
    tar->archive = archive_write_new();
    archive_write_set_format_pax_restricted(tar->archive);
    g_assert_cmpint(archive_write_open_filename(tar->archive, tar->path), ==, ARCHIVE_OK);
}

static void
tar_add(Tar *tar, const char *path, mode_t type, const char *link, const char *text)
{
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, path);
    archive_entry_set_filetype(e, type);
    archive_entry_set_perm(e, 0644);
    archive_entry_set_size(e, text != NULL ? (la_int64_t)strlen(text) : 0);
    if (link != NULL && type == AE_IFLNK)
        archive_entry_set_symlink(e, link);
    else if (link != NULL)
        archive_entry_set_hardlink(e, link);
    g_assert_cmpint(archive_write_header(tar->archive, e), ==, ARCHIVE_OK);
    if (text != NULL)
        g_assert_cmpint(archive_write_data(tar->archive, text, strlen(text)), ==,
                        (la_ssize_t)strlen(text));
    archive_entry_free(e);
}

static void
tar_end(Tar *tar)
{
    g_assert_cmpint(archive_write_close(tar->archive), ==, ARCHIVE_OK);
    archive_write_free(tar->archive);
}

static char *
blob_path(const char *digest)
{
    return g_strconcat("blobs/sha256/", varve_digest_hex(digest), NULL);
}

static void
tar_add_blobs(Tar *tar, const Maker *m, const char *without)
{
    for (guint i = 0; i < m->digests->len; i++) {
        const char *digest = g_ptr_array_index(m->digests, i);
        g_autofree char *path = blob_path(digest);
        if (g_strcmp0(digest, without) != 0)
            tar_add(tar, path, AE_IFREG, NULL, g_ptr_array_index(m->texts, i));
    }
}

#define LAYOUT "{\"imageLayoutVersion\":\"1.0.0\"}"

/* index.json comes last. */
static char *
make_archive(Fixture *f, const Maker *m, const char *name, const char *without)
{
    Tar tar;
    g_autofree char *index = index_of(m);
    tar_begin(f, &tar, name);
    tar_add_blobs(&tar, m, without);
    tar_add(&tar, "oci-layout", AE_IFREG, NULL, LAYOUT);
    tar_add(&tar, "index.json", AE_IFREG, NULL, index);
    tar_end(&tar);
    return tar.path;
}

static void
write_file(const char *dir, const char *path, const char *text)
{
    g_autofree char *full = g_build_filename(dir, path, NULL);
    g_autofree char *parent = g_path_get_dirname(full);
    g_assert_cmpint(g_mkdir_with_parents(parent, 0755), ==, 0);
    g_assert_true(g_file_set_contents(full, text, -1, NULL));
}

static char *
make_directory(Fixture *f, const Maker *m, const char *name)
{
    char *dir = g_build_filename(f->dir, name, NULL);
    g_autofree char *index = index_of(m);
    for (guint i = 0; i < m->digests->len; i++) {
        g_autofree char *path = blob_path(g_ptr_array_index(m->digests, i));
        write_file(dir, path, g_ptr_array_index(m->texts, i));
    }
    write_file(dir, "oci-layout", LAYOUT);
    write_file(dir, "index.json", index);
    return dir;
}

/* --- looking ---------------------------------------------------------------------------------- */

static gsize
count_files(Fixture *f, const char *dir)
{
    g_autofree char *path = g_build_filename(f->root, "content", dir, NULL);
    varve_autofd fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    g_assert_cmpint(fd, >=, 0);
    g_autoptr(VarveListing) listing = varve_listing_read(fd);
    return varve_listing_length(listing);
}

static char *
names_of(GPtrArray *infos)
{
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < infos->len; i++) {
        const VarveImageInfo *info = g_ptr_array_index(infos, i);
        g_string_append_printf(text, "%s%s", i > 0 ? " " : "", info->name);
    }
    return g_string_free(text, FALSE);
}

static char *
list_names(Fixture *f)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) infos = varve_images_list(f->images, &error);
    g_assert_no_error(error);
    return names_of(infos);
}

static void
import_ok(Fixture *f, const char *path, const char *only, const char *name, const char *expected)
{
    g_autoptr(GError) error = NULL;
    const VarveImageImport options = {only, name};
    g_autoptr(GPtrArray) infos = varve_images_import(f->images, path, &options, &error);
    g_assert_no_error(error);
    g_autofree char *names = names_of(infos);
    g_assert_cmpstr(names, ==, expected);
    g_assert_cmpuint(count_files(f, "ingest"), ==, 0);
}

/* It fails so, and nothing is left. */
static void
import_fails(Fixture *f, const char *path, const char *only, const char *name, VarveErrorCode code,
             const char *message)
{
    g_autoptr(GError) error = NULL;
    const VarveImageImport options = {only, name};
    gsize before = count_files(f, "blobs/sha256");
    g_autofree char *names = list_names(f);
    g_assert_null(varve_images_import(f->images, path, &options, &error));
    g_assert_error(error, VARVE_ERROR, (int)code);
    if (strstr(error->message, message) == NULL)
        g_error("'%s' does not say '%s'", error->message, message);
    g_autofree char *after = list_names(f);
    g_assert_cmpstr(after, ==, names);
    g_assert_cmpuint(count_files(f, "ingest"), ==, 0);
    g_assert_cmpuint(count_files(f, "blobs/sha256"), ==, before);
}

/* --- layouts ---------------------------------------------------------------------------------- */

static void
test_archive(Fixture *f, gconstpointer data)
{
    Maker m;
    maker_init(&m);
    g_autofree char *image = add_image(&m, "layer", "amd64", REF("example.org/app:1"));
    offer(&m, image);
    g_autofree char *path = make_archive(f, &m, "a.tar", NULL);
    import_ok(f, path, NULL, NULL, "example.org/app:1");
    g_assert_cmpuint(count_files(f, "blobs/sha256"), ==, 3);

    g_autoptr(GError) error = NULL;
    g_autoptr(VarveImageDetails) d =
        varve_images_inspect(f->images, "example.org/app:1", NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(d->digest, ==, g_ptr_array_index(m.digests, 2));
    g_assert_cmpstr(d->config->cmd[0], ==, "sh");
    g_assert_cmpstr(d->chain_id, ==, g_ptr_array_index(m.digests, 0));
    g_assert_cmpstr(d->manifest_text, ==, g_ptr_array_index(m.texts, 2));
    g_assert_cmpstr(d->config_text, ==, g_ptr_array_index(m.texts, 1));
    const VarveImageBlob *layer = g_ptr_array_index(d->layers, 0);
    g_assert_cmpuint(layer->size, ==, 5);
    g_assert_true(layer->present);
    maker_clear(&m);
}

/* Of an archive with more in it than is wanted, only that is kept. */
static void
test_only(Fixture *f, gconstpointer data)
{
    Maker m;
    maker_init(&m);
    g_autofree char *one = add_image(&m, "one", "amd64", REF("one"));
    g_autofree char *two = add_image(&m, "two", "amd64", REF("two"));
    add_blob(&m, "of no use");
    offer(&m, one);
    offer(&m, two);
    g_autofree char *tar = make_archive(f, &m, "a.tar", NULL);
    g_autofree char *dir = make_directory(f, &m, "layout");
    import_ok(f, tar, "two", "app", "docker.io/library/app:two");
    g_assert_cmpuint(count_files(f, "blobs/sha256"), ==, 3);
    import_ok(f, dir, "one", "app:1", "docker.io/library/app:1");
    g_assert_cmpuint(count_files(f, "blobs/sha256"), ==, 6);
    import_ok(f, dir, NULL, "both", "docker.io/library/both:one docker.io/library/both:two");
    import_fails(f, dir, NULL, "both:x", VARVE_ERROR_INVALID_ARGUMENT,
                 "several of its images would be called 'docker.io/library/both:x'");
    import_fails(f, dir, "three", NULL, VARVE_ERROR_NOT_FOUND, "there is no image 'three' in it");
    import_fails(f, dir, NULL, NULL, VARVE_ERROR_INVALID_ARGUMENT, "is a tag without a repository");
    import_fails(f, dir, NULL, "Bad", VARVE_ERROR_INVALID_ARGUMENT, "lower case");
    maker_clear(&m);
}

static void
test_names_of_archives(Fixture *f, gconstpointer data)
{
    Maker m;
    maker_init(&m);
    g_autofree char *image = add_image(&m, "layer", "amd64", "");
    offer(&m, image);
    g_autofree char *unnamed = make_archive(f, &m, "unnamed.tar", NULL);
    import_fails(f, unnamed, NULL, NULL, VARVE_ERROR_INVALID_ARGUMENT,
                 "does not say what its image is called");
    import_ok(f, unnamed, NULL, "a/b:c", "docker.io/a/b:c");

    const char *digest = g_ptr_array_index(m.digests, 2), *other = g_ptr_array_index(m.digests, 0);
    g_autofree char *by_digest = g_strconcat("a/b@", digest, NULL);
    g_autofree char *whole = g_strconcat("docker.io/a/b@", digest, NULL);
    g_autofree char *by_other = g_strconcat("a/b@", other, NULL);
    import_ok(f, unnamed, NULL, by_digest, whole);
    import_fails(f, unnamed, NULL, by_other, VARVE_ERROR_INVALID_ARGUMENT,
                 "not the one of its name");

    g_string_truncate(m.manifests, 0);
    g_autofree char *named = describe(VARVE_MEDIA_OCI_MANIFEST, digest,
                                      strlen(g_ptr_array_index(m.texts, 2)), NAME("debian:12"));
    offer(&m, named);
    g_autofree char *path = make_archive(f, &m, "named.tar", NULL);
    import_ok(f, path, NULL, NULL, "docker.io/library/debian:12");
    import_ok(f, path, "docker.io/library/debian:12", NULL, "docker.io/library/debian:12");
    maker_clear(&m);
}

/* An index for several platforms, of which not all are in the archive. */
static void
test_platforms(Fixture *f, gconstpointer data)
{
    Maker m;
    maker_init(&m);
    g_autofree char *amd = add_image(&m, "amd", "amd64",
                                     ",\"platform\":{\"os\":\"linux\",\"architecture\":\"amd64\"}");
    g_autofree char *arm = add_image(&m, "arm", "arm64",
                                     ",\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\","
                                     "\"variant\":\"v8\"}");
    g_autofree char *gone = varve_digest_of("gone", 4);
    g_autofree char *absent =
        describe(VARVE_MEDIA_OCI_MANIFEST, gone, 4,
                 ",\"platform\":{\"os\":\"linux\",\"architecture\":\"s390x\"}");
    g_autofree char *index =
        g_strdup_printf("{\"schemaVersion\":2,\"manifests\":[%s,%s,%s]}", amd, arm, absent);
    const char *digest = add_blob(&m, index);
    g_autofree char *named = describe(VARVE_MEDIA_OCI_INDEX, digest, strlen(index), REF("a/b:1"));
    offer(&m, named);
    g_autofree char *path = make_archive(f, &m, "a.tar", NULL);
    import_ok(f, path, NULL, NULL, "docker.io/a/b:1");

    g_autoptr(GError) error = NULL;
    g_autoptr(VarveImageInfo) info = varve_images_find(f->images, "a/b:1", &error);
    g_assert_no_error(error);
    g_assert_cmpuint(info->platforms->len, ==, 2);
    g_assert_cmpuint(info->blobs, ==, 7);
    g_assert_true(info->complete);

    g_autoptr(VarvePlatform) wanted = varve_platform_parse("linux/arm64", NULL);
    g_autoptr(VarveImageDetails) d = varve_images_inspect(f->images, "a/b:1", wanted, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(d->digest, ==, g_ptr_array_index(m.digests, 5));
    g_autoptr(VarvePlatform) none = varve_platform_parse("linux/s390x", NULL);
    g_assert_null(varve_images_inspect(f->images, "a/b:1", none, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
    g_assert_nonnull(strstr(error->message, "only for linux/amd64, linux/arm64"));

    /* One platform alone, from the index. */
    const char *const names[] = {"a/b:1", NULL};
    g_autofree char *out = g_build_filename(f->dir, "arm", NULL);
    g_clear_error(&error);
    varve_images_export(f->images, names, wanted, VARVE_EXPORT_DIRECTORY, out, &error);
    g_assert_no_error(error);
    import_ok(f, out, NULL, "arm:only", "docker.io/library/arm:only");
    g_autoptr(VarveImageInfo) only = varve_images_find(f->images, "arm:only", NULL);
    g_assert_cmpstr(only->digest, ==, g_ptr_array_index(m.digests, 5));
    maker_clear(&m);
}

/* What is no image to run is kept as it is. */
static void
test_artifact(Fixture *f, gconstpointer data)
{
    Maker m;
    maker_init(&m);
    const char *empty = add_blob(&m, "{}"), *sbom = add_blob(&m, "an sbom");
    g_autofree char *manifest = g_strdup_printf(
        "{\"schemaVersion\":2,\"artifactType\":\"application/x-sbom\",\"config\":{\"mediaType\":"
        "\"application/vnd.oci.empty.v1+json\",\"digest\":\"%s\",\"size\":2},\"layers\":[{"
        "\"mediaType\":\"text/plain\",\"digest\":\"%s\",\"size\":7,\"x-unknown\":1}]}",
        empty, sbom);
    const char *digest = add_blob(&m, manifest);
    g_autofree char *named =
        describe(VARVE_MEDIA_OCI_MANIFEST, digest, strlen(manifest), REF("a/sbom:1"));
    offer(&m, named);
    g_autofree char *path = make_archive(f, &m, "a.tar", NULL);
    import_ok(f, path, NULL, NULL, "docker.io/a/sbom:1");
    g_autoptr(VarveImageDetails) d = varve_images_inspect(f->images, "a/sbom:1", NULL, NULL);
    g_assert_nonnull(d);
    g_assert_null(d->config);
    g_assert_null(d->platform);
    g_assert_cmpstr(d->artifact_type, ==, "application/x-sbom");
    g_assert_cmpstr(d->manifest_text, ==, manifest);
    maker_clear(&m);
}

/* --- docker save ------------------------------------------------------------------------------ */

static char *
docker_config(const char *layer)
{
    g_autofree char *digest = varve_digest_of(layer, strlen(layer));
    return g_strdup_printf("{\"os\":\"linux\",\"architecture\":\"amd64\",\"rootfs\":{\"type\":"
                           "\"layers\",\"diff_ids\":[\"%s\",\"%s\"]}}",
                           digest, digest);
}

/* The same layer twice, the second time as a link, as Docker up to 24 wrote it. */
static void
test_docker_archive(Fixture *f, gconstpointer data)
{
    Tar tar;
    g_autofree char *config = docker_config("layer");
    tar_begin(f, &tar, "docker.tar");
    tar_add(&tar, "bbbb/", AE_IFDIR, NULL, NULL);
    tar_add(&tar, "bbbb/layer.tar", AE_IFLNK, "../aaaa/layer.tar", NULL);
    tar_add(&tar, "aaaa/layer.tar", AE_IFREG, NULL, "layer");
    tar_add(&tar, "aaaa/VERSION", AE_IFREG, NULL, "1.0");
    tar_add(&tar, "aaaa/json", AE_IFREG, NULL, "{}");
    tar_add(&tar, "c.json", AE_IFREG, NULL, config);
    tar_add(&tar, "repositories", AE_IFREG, NULL, "{}");
    tar_add(&tar, "manifest.json", AE_IFREG, NULL,
            "[{\"Config\":\"c.json\",\"RepoTags\":[\"debian:12\",\"debian:latest\"],"
            "\"Layers\":[\"aaaa/layer.tar\",\"bbbb/layer.tar\"]}]");
    tar_end(&tar);
    import_ok(f, tar.path, NULL, NULL,
              "docker.io/library/debian:12 docker.io/library/debian:latest");
    g_assert_cmpuint(count_files(f, "blobs/sha256"), ==, 3);
    import_ok(f, tar.path, "debian", "example.org/x", "example.org/x:latest");

    g_autoptr(GError) error = NULL;
    g_autoptr(VarveImageDetails) d = varve_images_inspect(f->images, "debian:12", NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(d->config_text, ==, config);
    g_assert_cmpuint(d->layers->len, ==, 2);
    g_free(tar.path);
}

static void
test_bad_docker_archives(Fixture *f, gconstpointer data)
{
    static const struct {
        const char *manifest, *message;
        VarveErrorCode code;
    } bad[] = {
        {"{}", "must be an array", VARVE_ERROR_INVALID_ARGUMENT},
        {"[7]", "manifest.json[0]: must be an object", VARVE_ERROR_INVALID_ARGUMENT},
        {"[{}]", "manifest.json[0].Config: is missing", VARVE_ERROR_INVALID_ARGUMENT},
        {"[{\"Config\":\"none.json\",\"Layers\":[\"l\",\"l\"]}]", "no file 'none.json'",
         VARVE_ERROR_CORRUPT},
        {"[{\"Config\":\"../c.json\",\"Layers\":[\"l\",\"l\"]}]", "is no path inside it",
         VARVE_ERROR_INVALID_ARGUMENT},
        {"[{\"Config\":\"c.json\",\"Layers\":[\"l\"]}]", "are 1, but the config says 2",
         VARVE_ERROR_CORRUPT},
        {"[{\"Config\":\"c.json\",\"Layers\":[\"l\",\"other\"]}]", "Layers[1]: its digest is",
         VARVE_ERROR_CORRUPT},
        {"[{\"Config\":\"c.json\",\"Layers\":[\"l\",\"loop\"]}]", "links that lead to no end",
         VARVE_ERROR_CORRUPT},
        {"[{\"Config\":\"l\",\"Layers\":[]}]", "the JSON is not valid",
         VARVE_ERROR_INVALID_ARGUMENT},
        {"[]", "there is no image in it", VARVE_ERROR_NOT_FOUND},
    };
    g_autofree char *config = docker_config("layer");
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        Tar tar;
        tar_begin(f, &tar, "docker.tar");
        tar_add(&tar, "l", AE_IFREG, NULL, "layer");
        tar_add(&tar, "other", AE_IFREG, NULL, "another");
        tar_add(&tar, "loop", AE_IFLNK, "pool", NULL);
        tar_add(&tar, "pool", AE_IFLNK, "loop", NULL);
        tar_add(&tar, "c.json", AE_IFREG, NULL, config);
        tar_add(&tar, "manifest.json", AE_IFREG, NULL, bad[i].manifest);
        tar_end(&tar);
        import_fails(f, tar.path, NULL, "x:y", bad[i].code, bad[i].message);
        g_free(tar.path);
    }
}

/* --- hostile archives ------------------------------------------------------------------------- */

static void
expect_refused(Fixture *f, const char *path, mode_t type, const char *link, VarveErrorCode code,
               const char *message)
{
    Tar tar;
    tar_begin(f, &tar, "hostile.tar");
    tar_add(&tar, "oci-layout", AE_IFREG, NULL, LAYOUT);
    tar_add(&tar, path, type, link, type == AE_IFREG && link == NULL ? "x" : NULL);
    tar_end(&tar);
    import_fails(f, tar.path, NULL, NULL, code, message);
    g_free(tar.path);
}

static void
test_hostile_entries(Fixture *f, gconstpointer data)
{
    const VarveErrorCode invalid = VARVE_ERROR_INVALID_ARGUMENT;
    g_autofree char *deep = g_strnfill(5000, 'a');
    expect_refused(f, "../x", AE_IFREG, NULL, invalid, "'../x' is no path inside it");
    expect_refused(f, "a/../../x", AE_IFREG, NULL, invalid, "is no path inside it");
    expect_refused(f, "a/../x", AE_IFREG, NULL, invalid, "is no path inside it");
    expect_refused(f, "/etc/passwd", AE_IFREG, NULL, invalid, "is no path inside it");
    expect_refused(f, deep, AE_IFREG, NULL, invalid, "is no path inside it");
    expect_refused(f, "a", AE_IFLNK, "../x", invalid, "is no path inside it");
    expect_refused(f, "a/b", AE_IFLNK, "../../x", invalid, "is no path inside it");
    expect_refused(f, "a", AE_IFLNK, "/etc/passwd", invalid, "is no path inside it");
    expect_refused(f, "a", AE_IFREG, "../x", invalid, "is no path inside it");
    expect_refused(f, "dev", AE_IFCHR, NULL, invalid, "neither a file, a directory nor a link");
    expect_refused(f, "pipe", AE_IFIFO, NULL, invalid, "neither a file, a directory nor a link");
    expect_refused(f, "oci-layout", AE_IFREG, NULL, invalid, "two files oci-layout");
    expect_refused(f, "./x", AE_IFREG, NULL, invalid, "it is no image archive");
}

/* Each blob of an image missing, each one changed, each with a wrong size. */
static void
test_wrong_blobs(Fixture *f, gconstpointer data)
{
    for (guint i = 0; i < 3; i++) {
        Maker m;
        maker_init(&m);
        g_autofree char *image = add_image(&m, "layer", "amd64", REF("a/b:1"));
        offer(&m, image);
        g_autofree char *digest = g_strdup(g_ptr_array_index(m.digests, i));
        g_autofree char *missing = make_archive(f, &m, "missing.tar", digest);
        import_fails(f, missing, NULL, NULL, VARVE_ERROR_CORRUPT, digest);

        g_autofree char *dir = make_directory(f, &m, "layout");
        g_autofree char *path = blob_path(digest);
        g_autofree char *full = g_build_filename(dir, path, NULL);
        char *text = m.texts->pdata[i];
        text[0] ^= 1;
        g_autofree char *changed = make_archive(f, &m, "changed.tar", NULL);
        import_fails(f, changed, NULL, NULL, VARVE_ERROR_CORRUPT, "its content has the digest");
        write_file(dir, path, text);
        import_fails(f, dir, NULL, NULL, VARVE_ERROR_CORRUPT, "its content has the digest");
        text[0] ^= 1;
        g_autofree char *longer = g_strconcat(text, " ", NULL);
        write_file(dir, path, longer);
        import_fails(f, dir, NULL, NULL, VARVE_ERROR_CORRUPT, digest);
        write_file(dir, path, "");
        import_fails(f, dir, NULL, NULL, VARVE_ERROR_CORRUPT, digest);
        g_assert_cmpint(g_remove(full), ==, 0);
        import_fails(f, dir, NULL, NULL, VARVE_ERROR_CORRUPT, digest);
        g_assert_cmpint(symlink("/etc/hostname", full), ==, 0);
        g_autoptr(GError) error = NULL;
        g_assert_null(varve_images_import(f->images, dir, NULL, &error));
        g_assert_nonnull(strstr(error->message, "opening blobs/sha256/"));
        varve_tree_remove(AT_FDCWD, dir, NULL, NULL);
        maker_clear(&m);
    }
}

static void
test_wrong_size_in_index(Fixture *f, gconstpointer data)
{
    Maker m;
    maker_init(&m);
    g_free(add_image(&m, "layer", "amd64", ""));
    const char *digest = g_ptr_array_index(m.digests, 2);
    g_autofree char *wrong = describe(VARVE_MEDIA_OCI_MANIFEST, digest, 5, REF("a/b:1"));
    offer(&m, wrong);
    g_autofree char *tar = make_archive(f, &m, "a.tar", NULL);
    g_autofree char *dir = make_directory(f, &m, "layout");
    import_fails(f, tar, NULL, NULL, VARVE_ERROR_CORRUPT, "not the 5 that its descriptor says");
    import_fails(f, dir, NULL, NULL, VARVE_ERROR_CORRUPT, "the 5 bytes that its descriptor says");
    maker_clear(&m);
}

/* A blob cannot name itself, so loops cannot be made; chains can. */
static void
test_deep_indexes(Fixture *f, gconstpointer data)
{
    Maker m;
    maker_init(&m);
    g_autofree char *inner = add_image(&m, "layer", "amd64", "");
    for (guint i = 0; i < 20; i++) {
        g_autofree char *index = g_strdup_printf("{\"schemaVersion\":2,\"manifests\":[%s]}", inner);
        const char *digest = add_blob(&m, index);
        g_free(inner);
        inner = describe(VARVE_MEDIA_OCI_INDEX, digest, strlen(index), REF("a/b:1"));
    }
    offer(&m, inner);
    g_autofree char *path = make_archive(f, &m, "a.tar", NULL);
    import_fails(f, path, NULL, NULL, VARVE_ERROR_INVALID_ARGUMENT,
                 "indexes are nested deeper than 8 levels");
    maker_clear(&m);
}

/* Cut short at every block of 512 bytes: refused or, at the very end, whole. */
static void
test_truncated(Fixture *f, gconstpointer data)
{
    Maker m;
    maker_init(&m);
    g_autofree char *image = add_image(&m, "layer", "amd64", REF("a/b:1"));
    offer(&m, image);
    g_autofree char *path = make_archive(f, &m, "a.tar", NULL);
    g_autofree char *bytes = NULL;
    gsize size, whole = 0;
    g_assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    for (gsize length = 0; length <= size; length += 512) {
        g_autoptr(GError) error = NULL;
        g_assert_true(g_file_set_contents(path, bytes, (gssize)length, NULL));
        g_autoptr(GPtrArray) infos = varve_images_import(f->images, path, NULL, &error);
        g_assert_true((infos != NULL) == (error == NULL));
        g_assert_true(whole == 0 || infos != NULL);
        g_assert_cmpuint(count_files(f, "blobs/sha256"), ==, infos != NULL ? 3 : 0);
        g_assert_cmpuint(count_files(f, "ingest"), ==, 0);
        whole += infos != NULL;
    }
    g_assert_cmpuint(whole, >, 0);
    maker_clear(&m);
}

/* --- export ----------------------------------------------------------------------------------- */

static void
export_ok(Fixture *f, const char *const *names, VarveImageFormat format, const char *path)
{
    g_autoptr(GError) error = NULL;
    varve_images_export(f->images, names, NULL, format, path, &error);
    g_assert_no_error(error);
}

static void
test_export(Fixture *f, gconstpointer data)
{
    static const VarveImageFormat formats[] = {VARVE_EXPORT_ARCHIVE, VARVE_EXPORT_DIRECTORY,
                                               VARVE_EXPORT_DOCKER};
    Maker m;
    maker_init(&m);
    g_autofree char *one = add_image(&m, "one", "amd64", REF("a/b:1"));
    g_autofree char *two = add_image(&m, "two", "amd64", REF("a/b:2"));
    offer(&m, one);
    offer(&m, two);
    g_autofree char *path = make_archive(f, &m, "in.tar", NULL);
    import_ok(f, path, NULL, NULL, "docker.io/a/b:1 docker.io/a/b:2");
    const char *const names[] = {"a/b:2", "a/b:1", NULL};

    for (gsize i = 0; i < G_N_ELEMENTS(formats); i++) {
        Fixture other;
        set_up(&other, NULL);
        g_autofree char *first = g_strdup_printf("%s/first-%zu", f->dir, i);
        g_autofree char *second = g_strdup_printf("%s/second-%zu", f->dir, i);
        export_ok(f, names, formats[i], first);
        import_ok(&other, first, NULL, NULL, "docker.io/a/b:2 docker.io/a/b:1");
        export_ok(&other, names, formats[i], second);
        for (guint b = 0; b < m.digests->len; b++) {
            gboolean manifest = b % 3 == 2;
            const char *digest = g_ptr_array_index(m.digests, b);
            g_autofree char *blob = g_build_filename(other.root, "content/blobs/sha256",
                                                     varve_digest_hex(digest), NULL);
            g_autofree char *text = NULL;
            g_assert_true(g_file_get_contents(blob, &text, NULL, NULL) || manifest);
            g_assert_cmpstr(text, ==, g_ptr_array_index(m.texts, b));
        }
        if (formats[i] != VARVE_EXPORT_DIRECTORY) {
            g_autofree char *a = NULL, *b = NULL;
            gsize n, o;
            g_assert_true(g_file_get_contents(first, &a, &n, NULL));
            g_assert_true(g_file_get_contents(second, &b, &o, NULL));
            g_assert_cmpmem(a, n, b, o);
        }
        tear_down(&other, NULL);
    }
    maker_clear(&m);
}

static void
test_export_failures(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    Maker m;
    maker_init(&m);
    g_autofree char *one = add_image(&m, "one", "amd64", REF("a/b:1"));
    offer(&m, one);
    g_autofree char *path = make_archive(f, &m, "in.tar", NULL);
    import_ok(f, path, NULL, NULL, "docker.io/a/b:1");
    const char *const names[] = {"a/b:1", NULL}, *const absent[] = {"a/b:1", "a/b:2", NULL};
    g_autofree char *out_dir = g_build_filename(f->dir, "out", NULL);
    g_autofree char *out = g_build_filename(out_dir, "x.tar", NULL);
    g_assert_cmpint(g_mkdir(out_dir, 0755), ==, 0);

    g_assert_false(varve_images_export(f->images, names, NULL, VARVE_EXPORT_ARCHIVE, path, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_ALREADY_EXISTS);
    g_clear_error(&error);
    g_assert_false(varve_images_export(f->images, absent, NULL, VARVE_EXPORT_ARCHIVE, out, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
    g_clear_error(&error);

    /* A blob that was damaged on disk is found out while it is written. */
    g_autofree char *blob = g_build_filename(
        f->root, "content/blobs/sha256", varve_digest_hex(g_ptr_array_index(m.digests, 0)), NULL);
    g_assert_true(g_file_set_contents(blob, "two", 3, NULL));
    for (int format = VARVE_EXPORT_ARCHIVE; format <= VARVE_EXPORT_DOCKER; format++) {
        g_assert_false(varve_images_export(f->images, names, NULL, format, out, &error));
        g_assert_error(error, VARVE_ERROR, VARVE_ERROR_CORRUPT);
        g_clear_error(&error);
    }
    g_assert_cmpint(g_rmdir(out_dir), ==, 0); /* nothing was left in it */
    maker_clear(&m);
}

/* --- names and garbage ------------------------------------------------------------------------ */

static void
test_tag_and_remove(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    Maker m;
    maker_init(&m);
    g_autofree char *one = add_image(&m, "one", "amd64", REF("a/b:1"));
    offer(&m, one);
    g_autofree char *path = make_archive(f, &m, "in.tar", NULL);
    import_ok(f, path, NULL, NULL, "docker.io/a/b:1");
    const char *digest = g_ptr_array_index(m.digests, 2);
    g_autofree char *digits = g_strndup(varve_digest_hex(digest), 8);

    g_assert_true(varve_images_tag(f->images, digits, "c", &error));
    g_autofree char *names = list_names(f);
    g_assert_cmpstr(names, ==, "docker.io/a/b:1 docker.io/library/c:latest");
    g_assert_false(varve_images_tag(f->images, "none", "d", &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
    g_clear_error(&error);
    g_assert_false(varve_images_tag(f->images, "c", "D", &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
    g_clear_error(&error);

    g_assert_false(varve_images_remove(f->images, digits, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_FAILED_PRECONDITION);
    g_clear_error(&error);
    g_assert_true(varve_images_remove(f->images, "a/b:1", &error));
    g_assert_true(varve_images_remove(f->images, digest, &error));
    g_assert_false(varve_images_remove(f->images, digest, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
    maker_clear(&m);
}

static void
test_prune(Fixture *f, gconstpointer data)
{
    Maker m;
    maker_init(&m);
    g_autofree char *one = add_image(&m, "one", "amd64", REF("a/b:1"));
    g_autofree char *two = add_image(&m, "two", "amd64", REF("a/b:2"));
    offer(&m, one);
    offer(&m, two);
    g_autofree char *path = make_archive(f, &m, "in.tar", NULL);
    import_ok(f, path, NULL, NULL, "docker.io/a/b:1 docker.io/a/b:2");
    VarveImagePrune result;
    g_assert_true(varve_images_prune(f->images, &result, NULL));
    g_assert_cmpuint(result.blobs, ==, 0);
    g_assert_true(varve_images_remove(f->images, "a/b:1", NULL));
    g_assert_true(varve_images_prune(f->images, &result, NULL));
    g_assert_cmpuint(result.blobs, ==, 3);
    g_assert_cmpuint(count_files(f, "blobs/sha256"), ==, 3);
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveImageDetails) d = varve_images_inspect(f->images, "a/b:2", NULL, &error);
    g_assert_no_error(error);
    g_assert_nonnull(d);
    maker_clear(&m);
}

/* A manifest that was lost from the disk spoils neither the list nor pruning. */
static void
test_lost_manifest(Fixture *f, gconstpointer data)
{
    g_autoptr(GError) error = NULL;
    Maker m;
    maker_init(&m);
    g_autofree char *one = add_image(&m, "one", "amd64", REF("a/b:1"));
    offer(&m, one);
    g_autofree char *path = make_archive(f, &m, "in.tar", NULL);
    import_ok(f, path, NULL, NULL, "docker.io/a/b:1");
    g_autofree char *blob = g_build_filename(
        f->root, "content/blobs/sha256", varve_digest_hex(g_ptr_array_index(m.digests, 2)), NULL);
    g_assert_cmpint(g_remove(blob), ==, 0);
    g_autoptr(VarveImageInfo) info = varve_images_find(f->images, "a/b:1", &error);
    g_assert_no_error(error);
    g_assert_false(info->complete);
    g_assert_true(varve_images_prune(f->images, NULL, &error));
    g_assert_null(varve_images_inspect(f->images, "a/b:1", NULL, &error));
    g_assert_error(error, VARVE_ERROR, VARVE_ERROR_NOT_FOUND);
    import_ok(f, path, NULL, NULL, "docker.io/a/b:1"); /* whole again */
    maker_clear(&m);
}

/* What was named is there after the engine was closed and opened. */
static void
test_reopen(Fixture *f, gconstpointer data)
{
    Maker m;
    maker_init(&m);
    g_autofree char *one = add_image(&m, "one", "amd64", REF("a/b:1"));
    offer(&m, one);
    g_autofree char *path = make_archive(f, &m, "in.tar", NULL);
    import_ok(f, path, NULL, NULL, "docker.io/a/b:1");
    g_autoptr(VarveImageInfo) before = varve_images_find(f->images, "a/b:1", NULL);
    varve_images_close(f->images);
    varve_engine_close(f->engine);
    f->engine = varve_engine_open(f->root, VARVE_ENGINE_DEFAULT, NULL);
    f->images = varve_images_open(f->engine, NULL);
    g_autoptr(VarveImageInfo) after = varve_images_find(f->images, "a/b:1", NULL);
    g_assert_cmpstr(after->digest, ==, before->digest);
    g_assert_cmpint(after->created, ==, before->created);
    g_assert_cmpuint(after->size, ==, before->size);
    maker_clear(&m);
}

#define TEST(name, func) g_test_add("/layout/" name, Fixture, NULL, set_up, func, tear_down)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    TEST("archive", test_archive);
    TEST("only", test_only);
    TEST("names", test_names_of_archives);
    TEST("platforms", test_platforms);
    TEST("artifact", test_artifact);
    TEST("docker-archive", test_docker_archive);
    TEST("bad-docker-archives", test_bad_docker_archives);
    TEST("hostile-entries", test_hostile_entries);
    TEST("wrong-blobs", test_wrong_blobs);
    TEST("wrong-size-in-index", test_wrong_size_in_index);
    TEST("deep-indexes", test_deep_indexes);
    TEST("truncated", test_truncated);
    TEST("export", test_export);
    TEST("export-failures", test_export_failures);
    TEST("tag-and-remove", test_tag_and_remove);
    TEST("prune", test_prune);
    TEST("lost-manifest", test_lost_manifest);
    TEST("reopen", test_reopen);
    return g_test_run();
}
