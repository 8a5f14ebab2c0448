/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pushing blobs:
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pushing-blobs
 *
 * An upload is a URL that the registry gives and that changes with every answer. A blob goes there
 * whole in one PUT, or in parts, each a PATCH, and then an empty PUT that names the digest. After
 * an interruption the registry is asked how much of it has come; if it does not know any more, a
 * new upload begins.
 */
#include "image/registry/push.h"
#include <string.h>

#define TYPE          "application/octet-stream"
#define SMALLER_CHUNK (8 * 1024 * 1024) /* where a registry takes no blob whole */

typedef VarveRegistryPush Push;

/* One request of a push. */
typedef struct {
    const char *method, *path, *url, *scopes;
    const char *const *headers;
    const VarveRegistryBody *body;
    const int *statuses;
} Step;

static void
tell(const Push *push, guint64 done)
{
    if (push->watch != NULL && push->watch->progress != NULL)
        push->watch->progress(done, push->blob->size, push->watch->progress_data);
}

static void
on_sent(gpointer data, guint64 bytes)
{
    const Push *push = data;
    tell(push, push->offset + bytes);
}

/* Takes the upload's new URL. */
static gboolean
take_location(Push *push, const VarveRegistryRequest *request, const VarveRegistryAnswer *answer,
              GError **error)
{
    g_autoptr(VarveRegistryUrl) url = varve_registry_location(request, answer, error);
    if (url == NULL)
        return FALSE;
    g_free(push->location);
    push->location = g_strdup(url->text);
    return TRUE;
}

/* Does a step; where the upload goes on is taken from its answer, if that has status 202 or 204. */
static gboolean
do_step(Push *push, VarveRegistryEndpoint *endpoint, const Step *step, VarveRegistryAnswer *answer,
        VarveRegistryFailure *failure, GError **error)
{
    g_auto(VarveRegistryRequest) request = {
        .endpoint = endpoint,
        .repository = push->name->path,
        .method = step->method,
        .path = step->path,
        .url = step->url,
        .scopes = step->scopes != NULL ? step->scopes : push->scope,
        .headers = step->headers,
        .body = step->body,
        .statuses = step->statuses,
        .watch = push->watch,
        .sent = step->body != NULL ? on_sent : NULL,
        .sent_data = push,
    };
    if (!varve_registry_request(push->registry, &request, answer, failure, error))
        return FALSE;
    gboolean goes_on = answer->status == 202 ||
                       (answer->status == 204 && varve_registry_answer_header(answer, "Location"));
    return !goes_on || take_location(push, &request, answer, error);
}

/* --- whether it is there ---------------------------------------------------------------------- */

gboolean
varve_registry_push_look(Push *push, VarveRegistryEndpoint *endpoint, gboolean *there,
                         VarveRegistryFailure *failure, GError **error)
{
    static const int missing[] = {404, 0};
    g_autofree char *path = g_strdup_printf("%s/blobs/%s", push->name->path, push->blob->digest);
    const Step step = {.method = "HEAD", .path = path, .statuses = missing};
    g_autoptr(VarveRegistryAnswer) answer = varve_registry_answer_new();
    if (!do_step(push, endpoint, &step, answer, failure, error))
        return FALSE;
    *there = answer->status != 404;
    return TRUE;
}

/* --- beginning an upload ---------------------------------------------------------------------- */

static void
read_wishes(Push *push, const VarveRegistryAnswer *answer)
{
    const char *least = varve_registry_answer_header(answer, "OCI-Chunk-Min-Length");
    if (least == NULL || !varve_registry_number(least, &push->min_chunk))
        push->min_chunk = 0;
}

/* Begins an upload, or mounts the blob from another repository, which is *done then. */
gboolean
varve_registry_push_post(Push *push, VarveRegistryEndpoint *endpoint, const char *from,
                         gboolean *done, VarveRegistryFailure *failure, GError **error)
{
    g_autofree char *scopes =
        from == NULL ? NULL : g_strdup_printf("%s repository:%s:pull", push->scope, from);
    g_autoptr(GString) path = g_string_new(NULL);
    g_string_append_printf(path, "%s/blobs/uploads/", push->name->path);
    if (from != NULL) {
        varve_registry_url_add(path, "mount", push->blob->digest);
        varve_registry_url_add(path, "from", from);
    }
    const Step step = {.method = "POST", .path = path->str, .scopes = scopes};
    g_autoptr(VarveRegistryAnswer) answer = varve_registry_answer_new();
    push->offset = 0;
    if (!do_step(push, endpoint, &step, answer, failure, error))
        return FALSE;
    *done = answer->status == 201;
    if (*done && from != NULL)
        return TRUE;
    if (push->location == NULL)
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "%s answered %ld, but began no upload",
                               endpoint->authority, answer->status);
    read_wishes(push, answer);
    return TRUE;
}

/* Whether a mount was refused for itself: by a status that is not about the registry's state. */
static gboolean
is_refusal(const VarveRegistryFailure *failure)
{
    return failure->status / 100 == 4 && !failure->again;
}

static gboolean
start(Push *push, VarveRegistryEndpoint *endpoint, gboolean *mounted, VarveRegistryFailure *failure,
      GError **error)
{
    const char *from = push->from;
    push->from = NULL; /* is tried once */
    if (from != NULL) {
        g_autoptr(GError) problem = NULL;
        if (varve_registry_push_post(push, endpoint, from, mounted, failure, &problem))
            return TRUE;
        if (!is_refusal(failure)) {
            push->from = from;
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
    }
    return varve_registry_push_post(push, endpoint, NULL, mounted, failure, error);
}

/* --- sending ---------------------------------------------------------------------------------- */

/* How much the registry has of the upload. FALSE without an error, and no upload any more, when it
 * does not know it. */
gboolean
varve_registry_push_ask(Push *push, VarveRegistryEndpoint *endpoint, VarveRegistryFailure *failure,
                        GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autofree char *url = g_strdup(push->location);
    const Step step = {.method = "GET", .url = url};
    g_autoptr(VarveRegistryAnswer) answer = varve_registry_answer_new();
    gboolean good = do_step(push, endpoint, &step, answer, failure, &problem);
    if (!good && failure->again) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    const char *range = good ? varve_registry_answer_header(answer, "Range") : NULL;
    guint64 offset = 0;
    good =
        range != NULL && varve_registry_upload_range(range, &offset) && offset <= push->blob->size;
    push->offset = good ? offset : 0;
    if (!good)
        g_clear_pointer(&push->location, g_free);
    return good;
}

/* Takes from the answer to a chunk how much the registry has: all that was sent, or less. */
static gboolean
take_range(Push *push, const VarveRegistryAnswer *answer, guint64 sent, GError **error)
{
    const char *range = varve_registry_answer_header(answer, "Range");
    guint64 has = push->offset + sent;
    if (range != NULL && (!varve_registry_upload_range(range, &has) || has <= push->offset ||
                          has > push->offset + sent)) {
        if (push->offset == 0 && sent == 1) { /* "0-0" is one byte here */
            push->offset = 1;
            return TRUE;
        }
        g_autofree char *shown = varve_registry_text_clean(range, -1);
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "after %" G_GUINT64_FORMAT " bytes it says that it has '%s'",
                               push->offset + sent, shown);
    }
    push->offset = has;
    return TRUE;
}

gboolean
varve_registry_push_chunk(Push *push, VarveRegistryEndpoint *endpoint,
                          VarveRegistryFailure *failure, GError **error)
{
    guint64 left = push->blob->size - push->offset;
    guint64 size = push->chunk == 0 ? left : MIN(left, MAX(push->chunk, push->min_chunk));
    const VarveRegistryBody body = {push->content, push->offset, size, TYPE};
    g_autofree char *range =
        g_strdup_printf("Content-Range: %" G_GUINT64_FORMAT "-%" G_GUINT64_FORMAT, push->offset,
                        push->offset + size - 1);
    const char *headers[] = {range, NULL};
    g_autofree char *url = g_strdup(push->location);
    const Step step = {.method = "PATCH", .url = url, .headers = headers, .body = &body};
    g_autoptr(VarveRegistryAnswer) answer = varve_registry_answer_new();
    if (do_step(push, endpoint, &step, answer, failure, error))
        return take_range(push, answer, size, error);
    if (failure->status == 416)
        failure->again = TRUE; /* it is asked what it has */
    return FALSE;
}

/* The last request: with the whole blob, or nothing more. */
gboolean
varve_registry_push_put(Push *push, VarveRegistryEndpoint *endpoint, VarveRegistryFailure *failure,
                        GError **error)
{
    g_autoptr(GString) url = g_string_new(push->location);
    varve_registry_url_add(url, "digest", push->blob->digest);
    const VarveRegistryBody body = {push->content, push->offset, push->blob->size - push->offset,
                                    TYPE};
    const Step step = {.method = "PUT", .url = url->str, .body = &body};
    g_autoptr(VarveRegistryAnswer) answer = varve_registry_answer_new();
    push->unsure = TRUE;
    if (!do_step(push, endpoint, &step, answer, failure, error)) {
        if (failure->status == 413 && push->chunk == 0 && push->blob->size > SMALLER_CHUNK) {
            push->chunk = SMALLER_CHUNK;
            g_clear_pointer(&push->location, g_free);
            failure->again = TRUE;
        }
        return FALSE;
    }
    const char *digest = varve_registry_answer_header(answer, "Docker-Content-Digest");
    if (digest == NULL || g_str_equal(digest, push->blob->digest))
        return TRUE;
    g_autofree char *shown = varve_registry_text_clean(digest, -1);
    return varve_error_set(error, VARVE_ERROR_CORRUPT, "%s stored it as %s", endpoint->authority,
                           shown);
}

static gboolean
send_all(Push *push, VarveRegistryEndpoint *endpoint, gboolean *progress,
         VarveRegistryFailure *failure, GError **error)
{
    gboolean in_parts = push->offset > 0 || (push->chunk > 0 && push->blob->size > push->chunk);
    while (in_parts && push->offset < push->blob->size) {
        if (!varve_registry_push_chunk(push, endpoint, failure, error))
            return FALSE;
        *progress |= push->offset > push->furthest;
        push->furthest = MAX(push->furthest, push->offset);
    }
    return varve_registry_push_put(push, endpoint, failure, error);
}

/* --- all of it -------------------------------------------------------------------------------- */

/* Finds out what to do at the beginning of an attempt; *done when that is nothing. */
static gboolean
prepare(Push *push, VarveRegistryEndpoint *endpoint, gboolean *done, VarveRegistryFailure *failure,
        GError **error)
{
    if (!push->looked || push->unsure) {
        if (!varve_registry_push_look(push, endpoint, done, failure, error))
            return FALSE;
        push->how = push->unsure ? VARVE_REGISTRY_UPLOADED : VARVE_REGISTRY_WAS_THERE;
        push->looked = TRUE;
        push->unsure = FALSE;
        if (*done)
            return TRUE;
    }
    g_autoptr(GError) problem = NULL;
    if (push->location != NULL && !varve_registry_push_ask(push, endpoint, failure, &problem) &&
        problem != NULL) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    if (push->location != NULL)
        return TRUE;
    if (!start(push, endpoint, done, failure, error))
        return FALSE;
    push->how = *done ? VARVE_REGISTRY_MOUNTED : VARVE_REGISTRY_UPLOADED;
    return TRUE;
}

static gboolean
attempt(gpointer data, VarveRegistryEndpoint *endpoint, gboolean *progress,
        VarveRegistryFailure *failure, GError **error)
{
    Push *push = data;
    gboolean done = FALSE;
    if (push->chunk == 0)
        push->chunk = endpoint->chunk_size;
    if (!prepare(push, endpoint, &done, failure, error))
        return FALSE;
    if (!done && !send_all(push, endpoint, progress, failure, error))
        return FALSE;
    tell(push, push->blob->size);
    return TRUE;
}

static gboolean
run(Push *push, GError **error)
{
    if (!varve_digest_check(push->blob->digest, error))
        return FALSE;
    if (push->from != NULL && !varve_registry_repository_check(push->from))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "'%s', to mount it from, is no repository", push->from);
    return varve_registry_attempts(push->registry, push->name->domain, FALSE, push->watch, attempt,
                                   push, error);
}

gboolean
varve_registry_push_blob(VarveRegistry *registry, const VarveReference *name,
                         const VarveRegistryDescriptor *blob, const VarveRegistryContent *content,
                         const char *from, VarveRegistryPushed *how,
                         const VarveRegistryWatch *watch, GError **error)
{
    Push push = {registry, name, blob, content, from, watch};
    push.scope = g_strdup_printf("repository:%s:pull,push", name->path);
    gboolean good = run(&push, error);
    g_free(push.scope);
    g_free(push.location);
    if (how != NULL)
        *how = push.how;
    if (!good)
        g_prefix_error(error, "pushing blob %s to '%s/%s': ", blob->digest, name->domain,
                       name->path);
    return good;
}

typedef struct {
    Push push;
    gboolean has;
} Question;

static gboolean
question(gpointer data, VarveRegistryEndpoint *endpoint, gboolean *progress,
         VarveRegistryFailure *failure, GError **error)
{
    Question *asked = data;
    return varve_registry_push_look(&asked->push, endpoint, &asked->has, failure, error);
}

gboolean
varve_registry_has_blob(VarveRegistry *registry, const VarveReference *name, const char *digest,
                        gboolean *has, const VarveRegistryWatch *watch, GError **error)
{
    const VarveRegistryDescriptor blob = {.digest = (char *)digest};
    g_autofree char *scope = g_strdup_printf("repository:%s:pull", name->path);
    Question asked = {{registry, name, &blob, .watch = watch, .scope = scope}, FALSE};
    if (varve_digest_check(digest, error) &&
        varve_registry_attempts(registry, name->domain, FALSE, watch, question, &asked, error)) {
        *has = asked.has;
        return TRUE;
    }
    g_prefix_error(error, "looking for blob %s in '%s/%s': ", digest, name->domain, name->path);
    return FALSE;
}
