/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests:
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-manifests and
 * #pushing-manifests. */
#include "image/registry/internal.h"
#include <string.h>

/* What we can do something with: OCI's and Docker's manifests and indexes. */
#define ACCEPT                                                                                     \
    "Accept: application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json," \
    " application/vnd.docker.distribution.manifest.list.v2+json,"                                  \
    " application/vnd.docker.distribution.manifest.v2+json"

#define DIGEST_HEADER "Docker-Content-Digest"

static const char *const accept_headers[] = {ACCEPT, NULL};

typedef struct {
    VarveRegistry *registry;
    const VarveReference *name;
    const VarveRegistryWatch *watch;
    VarveRegistryDescriptor descriptor; /* the result */
    GBytes *bytes;                      /* the result, or what is put */
    const char *media_type;             /* of what is put */
} Manifest;

static gboolean
ask(Manifest *manifest, VarveRegistryEndpoint *endpoint, const char *method, const int *statuses,
    VarveRegistryAnswer *answer, VarveRegistryFailure *failure, GError **error)
{
    const VarveReference *name = manifest->name;
    if (name->digest == NULL && name->tag == NULL)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "the name needs a tag or a digest");
    g_autofree char *scope = g_strdup_printf("repository:%s:pull", name->path);
    g_autofree char *path = g_strdup_printf("%s/manifests/%s", name->path,
                                            name->digest != NULL ? name->digest : name->tag);
    g_auto(VarveRegistryRequest) request = {
        .endpoint = endpoint,
        .repository = name->path,
        .method = method,
        .path = path,
        .scopes = scope,
        .headers = accept_headers,
        .limit = MAX_MANIFEST,
        .statuses = statuses,
        .watch = manifest->watch,
    };
    return varve_registry_request(manifest->registry, &request, answer, failure, error);
}

/* The type without its parameters; NULL for those that say nothing. */
static char *
media_type(const VarveRegistryAnswer *answer)
{
    const char *header = varve_registry_answer_header(answer, "Content-Type");
    if (header == NULL)
        return NULL;
    g_autofree char *type = g_strndup(header, strcspn(header, "; \t"));
    static const char *const vague[] = {"", "application/json", "text/plain",
                                        "application/octet-stream", NULL};
    return g_strv_contains(vague, type) ? NULL : g_steal_pointer(&type);
}

/* The digest that the registry states must be the one that is right. */
static gboolean
check_stated(const VarveRegistryAnswer *answer, const char *right, GError **error)
{
    const char *stated = varve_registry_answer_header(answer, DIGEST_HEADER);
    if (stated == NULL || right == NULL || !g_str_has_prefix(stated, "sha256:") ||
        g_str_equal(stated, right))
        return TRUE;
    g_autofree char *shown = varve_registry_text_clean(stated, -1);
    return varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "the registry says that its digest is %s, but it is %s", shown, right);
}

/* --- fetching --------------------------------------------------------------------------------- */

static gboolean
fetch(gpointer data, VarveRegistryEndpoint *endpoint, gboolean *progress,
      VarveRegistryFailure *failure, GError **error)
{
    Manifest *manifest = data;
    g_autoptr(VarveRegistryAnswer) answer = varve_registry_answer_new();
    if (!ask(manifest, endpoint, "GET", NULL, answer, failure, error))
        return FALSE;
    GByteArray *body = answer->body;
    g_autofree char *digest = varve_digest_of(body->data, body->len);
    const char *wanted = manifest->name->digest;
    if (wanted != NULL && !g_str_equal(wanted, digest))
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "%s sent something else, whose digest is %s", endpoint->authority,
                               digest);
    if (!check_stated(answer, digest, error))
        return FALSE;
    VarveRegistryDescriptor *descriptor = &manifest->descriptor;
    descriptor->media_type = media_type(answer);
    if (descriptor->media_type == NULL)
        descriptor->media_type = varve_registry_media_type_parse(body->data, body->len);
    descriptor->digest = g_steal_pointer(&digest);
    descriptor->size = body->len;
    manifest->bytes = g_bytes_new(body->data, body->len);
    return TRUE;
}

/* Hands the descriptor on, or drops it. */
static void
give_descriptor(Manifest *manifest, VarveRegistryDescriptor *descriptor)
{
    if (descriptor != NULL)
        *descriptor = manifest->descriptor;
    else
        varve_registry_descriptor_clear(&manifest->descriptor);
}

GBytes *
varve_registry_fetch_manifest(VarveRegistry *registry, const VarveReference *name,
                              VarveRegistryDescriptor *descriptor, const VarveRegistryWatch *watch,
                              GError **error)
{
    Manifest manifest = {registry, name, watch};
    g_autofree char *text = varve_reference_format(name);
    if (!varve_registry_attempts(registry, name->domain, TRUE, watch, fetch, &manifest, error)) {
        g_prefix_error(error, "fetching manifest of '%s': ", text);
        return NULL;
    }
    give_descriptor(&manifest, descriptor);
    return manifest.bytes;
}

/* --- resolving -------------------------------------------------------------------------------- */

/* Fills the descriptor from headers alone, if all is there. */
static gboolean
take_headers(Manifest *manifest, const VarveRegistryAnswer *answer)
{
    const char *digest = varve_registry_answer_header(answer, DIGEST_HEADER);
    const char *length = varve_registry_answer_header(answer, "Content-Length");
    VarveRegistryDescriptor *descriptor = &manifest->descriptor;
    guint64 size;
    if (answer->status != 200 || digest == NULL || length == NULL ||
        !varve_digest_check(digest, NULL) || !varve_registry_number(length, &size) || size == 0 ||
        size > MAX_MANIFEST)
        return FALSE;
    g_autofree char *type = media_type(answer);
    if (type == NULL)
        return FALSE;
    descriptor->media_type = g_steal_pointer(&type);
    descriptor->digest = g_strdup(digest);
    descriptor->size = size;
    return TRUE;
}

static gboolean
resolve(gpointer data, VarveRegistryEndpoint *endpoint, gboolean *progress,
        VarveRegistryFailure *failure, GError **error)
{
    Manifest *manifest = data;
    static const int no_head[] = {400, 405, 501, 0};
    g_autoptr(VarveRegistryAnswer) answer = varve_registry_answer_new();
    if (!ask(manifest, endpoint, "HEAD", no_head, answer, failure, error))
        return FALSE;
    if (take_headers(manifest, answer))
        return manifest->name->digest == NULL ||
               check_stated(answer, manifest->name->digest, error);
    return fetch(manifest, endpoint, progress, failure, error);
}

gboolean
varve_registry_resolve(VarveRegistry *registry, const VarveReference *name,
                       VarveRegistryDescriptor *descriptor, const VarveRegistryWatch *watch,
                       GError **error)
{
    Manifest manifest = {registry, name, watch};
    g_autofree char *text = varve_reference_format(name);
    gboolean good =
        varve_registry_attempts(registry, name->domain, TRUE, watch, resolve, &manifest, error);
    g_clear_pointer(&manifest.bytes, g_bytes_unref);
    if (good) {
        give_descriptor(&manifest, descriptor);
        return TRUE;
    }
    varve_registry_descriptor_clear(&manifest.descriptor);
    g_prefix_error(error, "resolving '%s': ", text);
    return FALSE;
}

/* --- pushing ---------------------------------------------------------------------------------- */

static gssize
read_bytes(gpointer data, guint64 offset, void *buffer, gsize size, GError **error)
{
    gsize n;
    const guint8 *bytes = g_bytes_get_data(data, &n);
    gsize part = MIN(size, n - (gsize)offset);
    memcpy(buffer, bytes + offset, part);
    return (gssize)part;
}

static gboolean
put(gpointer data, VarveRegistryEndpoint *endpoint, gboolean *progress,
    VarveRegistryFailure *failure, GError **error)
{
    Manifest *manifest = data;
    const VarveReference *name = manifest->name;
    const char *digest = manifest->descriptor.digest;
    g_autofree char *scope = g_strdup_printf("repository:%s:pull,push", name->path);
    g_autofree char *path =
        g_strdup_printf("%s/manifests/%s", name->path, name->tag != NULL ? name->tag : digest);
    VarveRegistryContent content = {read_bytes, manifest->bytes};
    VarveRegistryBody body = {&content, 0, g_bytes_get_size(manifest->bytes), manifest->media_type};
    g_auto(VarveRegistryRequest) request = {
        .endpoint = endpoint,
        .repository = name->path,
        .method = "PUT",
        .path = path,
        .scopes = scope,
        .body = &body,
        .watch = manifest->watch,
    };
    g_autoptr(VarveRegistryAnswer) answer = varve_registry_answer_new();
    return varve_registry_request(manifest->registry, &request, answer, failure, error) &&
           check_stated(answer, digest, error);
}

/* Whether it is a type that can stand in a header. */
static gboolean
check_type(const char *type, GError **error)
{
    gsize n = strlen(type);
    for (gsize i = 0; i < n; i++)
        if (!g_ascii_isgraph(type[i]))
            n = 0;
    if (n > 0 && n < 256)
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "the media type of a manifest must be printable and not empty");
}

static gboolean
push(Manifest *manifest, GError **error)
{
    const VarveReference *name = manifest->name;
    gsize n;
    const void *bytes = g_bytes_get_data(manifest->bytes, &n);
    if (!check_type(manifest->media_type, error))
        return FALSE;
    if (n > MAX_MANIFEST)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "it is larger than the %d MiB that registries take",
                               MAX_MANIFEST / 1024 / 1024);
    manifest->descriptor.media_type = g_strdup(manifest->media_type);
    manifest->descriptor.digest = varve_digest_of(bytes, n);
    manifest->descriptor.size = n;
    if (name->digest != NULL && !g_str_equal(name->digest, manifest->descriptor.digest))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "its digest is %s",
                               manifest->descriptor.digest);
    return varve_registry_attempts(manifest->registry, name->domain, FALSE, manifest->watch, put,
                                   manifest, error);
}

gboolean
varve_registry_push_manifest(VarveRegistry *registry, const VarveReference *name, const char *type,
                             GBytes *bytes, VarveRegistryDescriptor *descriptor,
                             const VarveRegistryWatch *watch, GError **error)
{
    Manifest manifest = {registry, name, watch, .bytes = bytes, .media_type = type};
    g_autofree char *text = varve_reference_format(name);
    if (push(&manifest, error)) {
        give_descriptor(&manifest, descriptor);
        return TRUE;
    }
    varve_registry_descriptor_clear(&manifest.descriptor);
    g_prefix_error(error, "pushing manifest of '%s': ", text);
    return FALSE;
}
