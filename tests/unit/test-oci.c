/* SPDX-License-Identifier: Apache-2.0 */
/* The words and the JSON of images: names, platforms, ChainIDs, manifests, configs. */
#include "image/chain.h"
#include "image/media-types.h"
#include "image/oci.h"
#include "image/platform.h"
#include "image/reference.h"
#include <string.h>

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define A     "sha256:" HEX_A
#define B     "sha256:" HEX_B

/* --- names ------------------------------------------------------------------------------------ */

/* The cases of github.com/distribution/reference's normalize_test.go that have to do with what
 * names are, in our words. */
static void
test_names(void)
{
    static const struct {
        const char *text, *whole, *familiar;
    } good[] = {
        {"debian", "docker.io/library/debian:latest", "debian:latest"},
        {"debian:12", "docker.io/library/debian:12", "debian:12"},
        {"ada/app", "docker.io/ada/app:latest", "ada/app:latest"},
        {"library/debian", "docker.io/library/debian:latest", "debian:latest"},
        {"docker.io/debian", "docker.io/library/debian:latest", "debian:latest"},
        {"index.docker.io/debian", "docker.io/library/debian:latest", "debian:latest"},
        {"index.docker.io/ada/app:1", "docker.io/ada/app:1", "ada/app:1"},
        {"docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"},
        {"docker.io/a.b/c", "docker.io/a.b/c:latest", "docker.io/a.b/c:latest"},
        {"docker.io/localhost/c:1", "docker.io/localhost/c:1", "docker.io/localhost/c:1"},
        {"localhost/app", "localhost/app:latest", "localhost/app:latest"},
        {"localhost:5000/app:x", "localhost:5000/app:x", "localhost:5000/app:x"},
        {"Host/app", "Host/app:latest", "Host/app:latest"},
        {"example.org/a/b__c/d--e/f.g:T-a_g.1", "example.org/a/b__c/d--e/f.g:T-a_g.1",
         "example.org/a/b__c/d--e/f.g:T-a_g.1"},
        {"192.168.0.1:5000/x", "192.168.0.1:5000/x:latest", "192.168.0.1:5000/x:latest"},
        {"[2001:db8::1]:5000/x:y", "[2001:db8::1]:5000/x:y", "[2001:db8::1]:5000/x:y"},
        {"[2001:db8::1]/x", "[2001:db8::1]/x:latest", "[2001:db8::1]/x:latest"},
        {"debian@" A, "docker.io/library/debian@" A, "debian@" A},
        {"debian:12@" A, "docker.io/library/debian@" A, "debian@" A}, /* the digest says it all */
        {"xn--7o8h.com/app", "xn--7o8h.com/app:latest", "xn--7o8h.com/app:latest"},
        {"test_com/foo", "docker.io/test_com/foo:latest", "test_com/foo:latest"},
        {"sha256:" HEX_A, "docker.io/library/sha256:" HEX_A, "sha256:" HEX_A},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *whole = varve_image_name_normalize(good[i].text, &error);
        g_assert_no_error(error);
        g_assert_cmpstr(whole, ==, good[i].whole);
        g_autofree char *familiar = varve_image_name_familiar(whole);
        g_assert_cmpstr(familiar, ==, good[i].familiar);
        g_autofree char *again = varve_image_name_normalize(familiar, NULL);
        g_assert_cmpstr(again, ==, whole);
    }
}

static void
test_bad_names(void)
{
    static const char *const bad[] = {
        "",
        "Debian",
        "debian:",
        "debian@",
        "debian@sha256:abc",
        "debian@sha512:" HEX_A HEX_A,
        "debian:-x",
        "debian:.x",
        "debian:a b",
        "/debian",
        "debian/",
        "a//b",
        "a/-b",
        "a/b-",
        "a/b___c",
        "a/b..c",
        "a/_b",
        "example.org/",
        "-example.org/x",
        "example-.org/x",
        "example..org/x",
        "example.org:/x",
        "example.org:port/x",
        "[::1/x",
        "[fe80::1%eth0]/x",
        "example.org/App",
        "debian\n",
        "debian@" A "@" B,
        "../etc/passwd",
        "a/../b",
        HEX_A,
    };
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_autofree char *whole = varve_image_name_normalize(bad[i], &error);
        if (whole != NULL)
            g_error("'%s' was taken for '%s'", bad[i], whole);
        g_assert_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
    }
    g_autofree char *tag = g_strnfill(129, 't');
    g_autofree char *long_tag = g_strconcat("debian:", tag, NULL);
    g_assert_null(varve_image_name_normalize(long_tag, NULL));
    tag[128] = '\0';
    g_autofree char *longest_tag = g_strconcat("debian:", tag, NULL);
    g_autofree char *whole = varve_image_name_normalize(longest_tag, NULL);
    g_assert_nonnull(whole);
    g_autofree char *path = g_strnfill(256, 'p');
    g_assert_null(varve_image_name_normalize(path, NULL));
}

/* --- platforms -------------------------------------------------------------------------------- */

/* As containerd's platforms package has them (platforms_test.go, compare_test.go). */
static void
test_platforms(void)
{
    static const struct {
        const char *text, *normal;
    } good[] = {
        {"linux/amd64", "linux/amd64"},     {"linux/x86_64", "linux/amd64"},
        {"Linux/X86-64/v1", "linux/amd64"}, {"linux/amd64/v3", "linux/amd64/v3"},
        {"linux/arm64", "linux/arm64"},     {"linux/arm64/v8", "linux/arm64"},
        {"linux/aarch64/8", "linux/arm64"}, {"linux/arm", "linux/arm/v7"},
        {"linux/arm/7", "linux/arm/v7"},    {"linux/armhf", "linux/arm/v7"},
        {"linux/armel", "linux/arm/v6"},    {"linux/i386", "linux/386"},
        {"macos/arm64/v8", "darwin/arm64"}, {"arm64", "linux/arm64"},
        {"linux/s390x", "linux/s390x"},     {"windows/amd64", "windows/amd64"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(good); i++) {
        g_autoptr(VarvePlatform) platform = varve_platform_parse(good[i].text, NULL);
        g_assert_nonnull(platform);
        g_autofree char *text = varve_platform_format(platform);
        g_assert_cmpstr(text, ==, good[i].normal);
    }
    static const char *const bad[] = {"",      "/",        "linux/", "linux", "linux/amd64/v1/x",
                                      "a b/c", "linux//v7"};
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(varve_platform_parse(bad[i], &error));
        g_assert_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
    }
}

static guint
rank(const char *wanted, const char *offered)
{
    g_autoptr(VarvePlatform) a = varve_platform_parse(wanted, NULL);
    g_autoptr(VarvePlatform) b = varve_platform_parse(offered, NULL);
    return varve_platform_rank(a, b);
}

static void
test_platform_ranks(void)
{
    /* For each, from the best on; then those that do not run. */
    static const char *const orders[][8] = {
        {"linux/arm/v7", "linux/arm/v7", "linux/arm/v6", "linux/arm/v5", NULL},
        {"linux/arm64", "linux/arm64", "linux/arm/v8", "linux/arm/v7", "linux/arm/v6",
         "linux/arm/v5", NULL},
        {"linux/amd64", "linux/amd64/v1", "linux/386", NULL},
        {"linux/amd64/v3", "linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386", NULL},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(orders); i++) {
        g_assert_cmpuint(rank(orders[i][0], orders[i][1]), ==, 0);
        for (gsize j = 2; orders[i][j] != NULL; j++)
            g_assert_cmpuint(rank(orders[i][0], orders[i][j - 1]), <,
                             rank(orders[i][0], orders[i][j]));
    }
    static const char *const alien[][2] = {
        {"linux/amd64", "linux/arm64"},   {"linux/amd64", "windows/amd64"},
        {"linux/arm/v6", "linux/arm/v7"}, {"linux/amd64", "linux/amd64/v2"},
        {"linux/386", "linux/amd64"},     {"linux/arm/v7", "linux/arm64"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(alien); i++)
        g_assert_cmpuint(rank(alien[i][0], alien[i][1]), ==, G_MAXUINT);
}

/* --- ChainIDs --------------------------------------------------------------------------------- */

/* Computed with sha256sum from config.md's formula. */
static void
test_chain_ids(void)
{
    const char *const diff_ids[] = {A, B, A};
    static const char *const chain_ids[] = {
        "", A, "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c",
        "sha256:406364a4bd8d39df8107071d4494fa73814420337124657ec5999b072e5d3352"};
    for (gsize i = 0; i < G_N_ELEMENTS(chain_ids); i++) {
        g_autofree char *chain = varve_chain_id(diff_ids, i);
        g_assert_cmpstr(chain, ==, chain_ids[i]);
    }
}

/* --- manifests -------------------------------------------------------------------------------- */

#define CONFIG "{\"mediaType\":\"" VARVE_MEDIA_OCI_CONFIG "\",\"digest\":\"" A "\",\"size\":2}"
#define LAYER  "{\"mediaType\":\"" VARVE_MEDIA_OCI_LAYER "+gzip\",\"digest\":\"" B "\",\"size\":33}"
#define MANIFEST                                                                                   \
    "{\"mediaType\":\"" VARVE_MEDIA_OCI_MANIFEST "\",\"digest\":\"" B "\",\"size\":7,"             \
    "\"platform\":{\"os\":\"linux\",\"architecture\":\"arm64\",\"variant\":\"v8\"},"               \
    "\"annotations\":{\"a\":\"b\"},\"urls\":[\"https://example.org/\"],\"unknown\":{}}"

static VarveManifest *
parse(const char *text, const char *media_type, GError **error)
{
    return varve_manifest_parse(text, strlen(text), media_type, error);
}

static void
test_manifest(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveManifest) m =
        parse("{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" LAYER "," LAYER
              "],\"annotations\":{\"x\":\"y\"},\"future\":[1,2.5,null]}",
              VARVE_MEDIA_OCI_MANIFEST, &error);
    g_assert_no_error(error);
    g_assert_false(m->is_index);
    g_assert_cmpstr(m->config->digest, ==, A);
    g_assert_cmpuint(m->blobs->len, ==, 2);
    const VarveDescriptor *layer = g_ptr_array_index(m->blobs, 1);
    g_assert_cmpstr(layer->digest, ==, B);
    g_assert_cmpuint(layer->size, ==, 33);
    g_assert_cmpint(varve_media_kind(layer->media_type), ==, VARVE_MEDIA_LAYER);
    g_assert_cmpstr(g_hash_table_lookup(m->annotations, "x"), ==, "y");
}

static void
test_index(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveManifest) m =
        parse("{\"schemaVersion\":2,\"manifests\":[" MANIFEST "]}", NULL, &error);
    g_assert_no_error(error);
    g_assert_true(m->is_index);
    const VarveDescriptor *d = g_ptr_array_index(m->blobs, 0);
    g_assert_cmpstr(d->platform->architecture, ==, "arm64");
    g_assert_cmpstr(d->platform->variant, ==, "");
    g_assert_cmpstr(varve_descriptor_annotation(d, "a"), ==, "b");
    g_assert_cmpstr(d->urls[0], ==, "https://example.org/");
}

static void
test_docker_media_types(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveManifest) manifest = parse("{\"schemaVersion\":2,\"mediaType\":\"application/"
                                              "vnd.docker.distribution.manifest.v2+json\","
                                              "\"config\":" CONFIG ",\"layers\":null}",
                                              NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(manifest->blobs->len, ==, 0);
    g_autoptr(VarveManifest) list =
        parse("{\"schemaVersion\":2,\"manifests\":[]}",
              "application/vnd.docker.distribution.manifest.list.v2+json", &error);
    g_assert_no_error(error);
    g_assert_true(list->is_index);
}

static void
test_artifact(void)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveManifest) m =
        parse("{\"schemaVersion\":2,\"artifactType\":\"application/x-sbom\",\"subject\":" LAYER
              ",\"config\":{\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"digest\":\"" A
              "\",\"size\":2},\"layers\":[{\"mediaType\":\"text/plain\",\"digest\":\"" B
              "\",\"size\":0}]}",
              NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(m->artifact_type, ==, "application/x-sbom");
    g_assert_cmpstr(m->subject->digest, ==, B);
}

/* Each is refused, with words that tell where and why. */
static void
test_bad_manifests(void)
{
    static const struct {
        const char *text, *media_type, *message;
        VarveErrorCode code;
    } bad[] = {
        {"", NULL, "the JSON is not valid", VARVE_ERROR_INVALID_ARGUMENT},
        {"[]", NULL, "must be an object, not an array", VARVE_ERROR_INVALID_ARGUMENT},
        {"{}", NULL, "schemaVersion: must be 2", VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2} x", NULL, "not valid at line 1", VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":1,\"fsLayers\":[]}", NULL, "old schema 1",
         VARVE_ERROR_NOT_IMPLEMENTED},
        {"{\"schemaVersion\":2,\"schemaVersion\":2}", NULL, "duplicate",
         VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"layers\":[]}", NULL, "config: is missing",
         VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":{}}", NULL,
         "layers: must be an array, not an object", VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" LAYER ",7]}", NULL,
         "layers[1]: must be an object", VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"config\":" CONFIG
         ",\"layers\":[{\"mediaType\":\"x\",\"digest\":7}]}",
         NULL, "layers[0].digest: must be a string, not a number", VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"config\":" CONFIG
         ",\"layers\":[{\"mediaType\":\"x\",\"digest\":\"sha256:../../x\",\"size\":1}]}",
         NULL, "layers[0].digest: 'sha256:../../x' is no digest", VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"config\":" CONFIG
         ",\"layers\":[{\"mediaType\":\"x\",\"digest\":\"" A "\",\"size\":-1}]}",
         NULL, "layers[0].size: must be between 0", VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"config\":" CONFIG
         ",\"layers\":[{\"mediaType\":\"x\",\"digest\":\"" A "\",\"size\":1e3}]}",
         NULL, "layers[0].size: must be a number, not a fraction", VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"config\":" CONFIG
         ",\"layers\":[{\"mediaType\":\"x\",\"digest\":\"" A "\",\"size\":99999999999999999999}]}",
         NULL, "too big integer", VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[{\"digest\":\"" A
         "\",\"size\":1}]}",
         NULL, "layers[0].mediaType: is missing", VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[],\"manifests\":[]}",
         VARVE_MEDIA_OCI_MANIFEST, "manifests: has no place beside layers",
         VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"layers\":[],\"manifests\":[]}", VARVE_MEDIA_OCI_INDEX,
         "layers: has no place beside manifests", VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"manifests\":[]}", VARVE_MEDIA_OCI_INDEX,
         "config: has no place beside manifests", VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"mediaType\":\"" VARVE_MEDIA_OCI_INDEX "\",\"manifests\":[]}",
         VARVE_MEDIA_OCI_MANIFEST, "but its descriptor says", VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"mediaType\":\"text/html\"}", NULL,
         "neither a manifest's nor an index's", VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"config\":" CONFIG ",\"annotations\":{\"a\":1}}", NULL,
         "annotations[\"a\"]: must be a string", VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"x\",\"digest\":\"" A
         "\",\"size\":1,\"platform\":{\"os\":[]}}]}",
         NULL, "manifests[0].platform.os: must be a string", VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"config\":\"\\u0000\"}", NULL, "not valid",
         VARVE_ERROR_INVALID_ARGUMENT},
        {"{\"schemaVersion\":2,\"config\":\"\xff\"}", NULL, "not valid",
         VARVE_ERROR_INVALID_ARGUMENT},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(parse(bad[i].text, bad[i].media_type, &error));
        g_assert_error(error, VARVE_ERROR, (int)bad[i].code);
        if (strstr(error->message, bad[i].message) == NULL)
            g_error("'%s' does not say '%s'", error->message, bad[i].message);
    }
}

static void
test_bounds(void)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *open = g_strnfill(100000, '[');
    g_autofree char *deep = g_strconcat("{\"a\":", open, NULL);
    g_assert_null(parse(deep, NULL, &error));
    g_assert_nonnull(strstr(error->message, "deeper than 64 levels"));

    g_clear_error(&error);
    GString *many = g_string_new("{\"schemaVersion\":2,\"config\":" CONFIG ",\"layers\":[" LAYER);
    for (guint i = 0; i < VARVE_MAX_LAYERS; i++)
        g_string_append(many, "," LAYER);
    g_string_append(many, "]}");
    g_assert_null(parse(many->str, NULL, &error));
    g_assert_nonnull(strstr(error->message, "layers: has 4097 items, at most 4096"));

    g_clear_error(&error);
    g_string_truncate(many, 0);
    g_string_append(many, "{\"schemaVersion\":2}");
    while (many->len <= VARVE_MAX_MANIFEST)
        g_string_append_c(many, ' ');
    g_assert_null(parse(many->str, NULL, &error));
    g_assert_nonnull(strstr(error->message, "at most 4194304 are allowed"));
    g_string_free(many, TRUE);
}

/* A descriptor that is written is read again as it was. */
static void
test_descriptor_as_json(void)
{
    g_autoptr(GError) error = NULL;
    json_auto_t *object = json_loads(MANIFEST, 0, NULL);
    g_autoptr(VarveDescriptor) first = varve_descriptor_parse(object, &error);
    g_assert_no_error(error);
    json_auto_t *written = varve_descriptor_to_json(first);
    g_autoptr(VarveDescriptor) second = varve_descriptor_parse(written, &error);
    g_assert_no_error(error);
    g_assert_cmpstr(second->digest, ==, first->digest);
    g_assert_cmpuint(second->size, ==, 7);
    g_assert_cmpstr(second->media_type, ==, first->media_type);
    g_assert_cmpstr(second->platform->architecture, ==, "arm64");
    g_assert_cmpstr(varve_descriptor_annotation(second, "a"), ==, "b");
}

/* --- configs ---------------------------------------------------------------------------------- */

static void
test_config(void)
{
    static const char text[] =
        "{\"architecture\":\"amd64\",\"os\":\"linux\",\"created\":\"2024-01-01T00:00:00Z\","
        "\"config\":{\"User\":\"ada:staff\",\"Env\":[\"PATH=/bin\",\"A=\"],\"Cmd\":[\"sh\"],"
        "\"Entrypoint\":null,\"WorkingDir\":\"/srv\",\"Volumes\":{\"/z\":{},\"/data\":{}},"
        "\"ExposedPorts\":{\"80/tcp\":{}},\"Labels\":{\"k\":\"v\"},\"StopSignal\":\"SIGINT\","
        "\"Healthcheck\":{\"Test\":[\"x\"]}},"
        "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"" A "\",\"" B "\"]},"
        "\"history\":[{\"created_by\":\"ADD\"},{\"created_by\":\"CMD\",\"empty_layer\":true},"
        "{\"created_by\":\"RUN\",\"comment\":\"c\"}],\"container_config\":{\"Cmd\":7}}";
    g_autoptr(GError) error = NULL;
    g_autoptr(VarveImageConfig) c = varve_image_config_parse(text, strlen(text), &error);
    g_assert_no_error(error);
    g_assert_cmpstr(c->platform.architecture, ==, "amd64");
    g_assert_cmpstr(c->user, ==, "ada:staff");
    g_assert_cmpstr(c->env[1], ==, "A=");
    g_assert_cmpstr(c->cmd[0], ==, "sh");
    g_assert_cmpuint(g_strv_length(c->entrypoint), ==, 0);
    g_assert_cmpstr(c->working_dir, ==, "/srv");
    g_assert_cmpstr(c->volumes[0], ==, "/data");
    g_assert_cmpstr(c->volumes[1], ==, "/z");
    g_assert_cmpstr(c->exposed_ports[0], ==, "80/tcp");
    g_assert_cmpstr(g_hash_table_lookup(c->labels, "k"), ==, "v");
    g_assert_cmpstr(c->stop_signal, ==, "SIGINT");
    g_assert_cmpstr(c->diff_ids[1], ==, B);
    g_assert_cmpuint(c->history->len, ==, 3);
    const gint64 layers[] = {0, -1, 1};
    for (guint i = 0; i < 3; i++) {
        const VarveImageHistory *history = g_ptr_array_index(c->history, i);
        g_assert_cmpint(history->layer, ==, layers[i]);
    }
}

static void
test_bad_configs(void)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"{}", "rootfs: is missing"},
        {"{\"rootfs\":[]}", "rootfs: must be an object"},
        {"{\"rootfs\":{\"type\":\"vhd\"}}", "rootfs.type: must be \"layers\""},
        {"{\"rootfs\":{\"diff_ids\":[\"x\"]}}", "rootfs.diff_ids[0]: 'x' is no digest"},
        {"{\"rootfs\":{},\"config\":{\"Env\":\"A=B\"}}", "config.Env: must be an array"},
        {"{\"rootfs\":{},\"config\":{\"Cmd\":[1]}}", "config.Cmd[0]: must be a string"},
        {"{\"rootfs\":{},\"config\":{\"Labels\":{\"a\":[]}}}",
         "config.Labels[\"a\"]: must be a string"},
        {"{\"rootfs\":{},\"history\":[{},{\"empty_layer\":\"yes\"}]}",
         "history[1].empty_layer: must be a boolean"},
        {"{\"rootfs\":{},\"history\":[4]}", "history[0]: must be an object"},
        {"{\"rootfs\":{},\"os\":1}", "os: must be a string"},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        g_assert_null(varve_image_config_parse(bad[i].text, strlen(bad[i].text), &error));
        g_assert_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT);
        if (strstr(error->message, bad[i].message) == NULL)
            g_error("'%s' does not say '%s'", error->message, bad[i].message);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/oci/names", test_names);
    g_test_add_func("/oci/bad-names", test_bad_names);
    g_test_add_func("/oci/platforms", test_platforms);
    g_test_add_func("/oci/platform-ranks", test_platform_ranks);
    g_test_add_func("/oci/chain-ids", test_chain_ids);
    g_test_add_func("/oci/manifest", test_manifest);
    g_test_add_func("/oci/index", test_index);
    g_test_add_func("/oci/docker-media-types", test_docker_media_types);
    g_test_add_func("/oci/artifact", test_artifact);
    g_test_add_func("/oci/bad-manifests", test_bad_manifests);
    g_test_add_func("/oci/bounds", test_bounds);
    g_test_add_func("/oci/descriptor-as-json", test_descriptor_as_json);
    g_test_add_func("/oci/config", test_config);
    g_test_add_func("/oci/bad-configs", test_bad_configs);
    return g_test_run();
}
