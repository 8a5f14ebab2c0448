/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetching blobs:
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pulling-blobs
 *
 * What the receiver has is never fetched twice if the registry can send a range of bytes (RFC 9110,
 * 14). One that cannot sends all, the beginning of which is dropped. Only what turns out to be
 * wrong is given up and fetched from the beginning.
 */
#include "image/registry/internal.h"
#include <string.h>

#define PROGRESS (1024 * 1024) /* bytes after which retries count anew */

typedef struct {
    VarveRegistry *registry;
    const VarveReference *name;
    const VarveRegistryDescriptor *blob;
    const VarveRegistryReceiver *receiver;
    const VarveRegistryWatch *watch;
    VarveDigester *hash; /* NULL: the receiver compares */

    guint64 offset;                         /* what the receiver has */
    guint64 skip;                           /* of what comes, since the receiver has it */
    guint64 counted;                        /* the offset when retries began to count */
    gboolean mixed;                         /* what the receiver has did not come in one piece */
    gboolean wrong;                         /* and it is not the blob */
    const VarveRegistryEndpoint *no_ranges; /* an endpoint that does not know them */

    gboolean refused; /* the last error is the registry's doing */
    gboolean again;   /* and yet trying again helps */
} Fetch;

static gboolean G_GNUC_PRINTF(3, 4) refuse(Fetch *fetch, GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    fetch->refused = TRUE;
    return varve_error_set(error, VARVE_ERROR_CORRUPT, "%s", text);
}

/* --- the answer ------------------------------------------------------------------------------- */

static gboolean
begin_part(Fetch *fetch, const VarveRegistryAnswer *answer, GError **error)
{
    const char *header = varve_registry_answer_header(answer, "Content-Range");
    guint64 first, last, total;
    if (header != NULL && varve_registry_content_range(header, &first, &last, &total) &&
        first == fetch->offset && last == fetch->blob->size - 1 &&
        (total == fetch->blob->size || total == G_MAXUINT64))
        return TRUE;
    fetch->again = TRUE; /* as a whole */
    g_autofree char *shown = varve_registry_text_clean(header != NULL ? header : "nothing", -1);
    return refuse(fetch, error, "asked for the bytes from %" G_GUINT64_FORMAT " on, it sends '%s'",
                  fetch->offset, shown);
}

static gboolean
begin(gpointer data, const VarveRegistryAnswer *answer, GError **error)
{
    Fetch *fetch = data;
    fetch->skip = 0;
    if (answer->status == 206)
        return begin_part(fetch, answer, error);
    const char *length = varve_registry_answer_header(answer, "Content-Length");
    guint64 size;
    if (length != NULL && (!varve_registry_number(length, &size) || size != fetch->blob->size)) {
        g_autofree char *shown = varve_registry_text_clean(length, -1);
        return refuse(fetch, error, "it has %s bytes instead of %" G_GUINT64_FORMAT, shown,
                      fetch->blob->size);
    }
    fetch->skip = fetch->offset;
    return TRUE;
}

static gboolean
take(Fetch *fetch, const void *bytes, gsize size, GError **error)
{
    if (size > fetch->blob->size - fetch->offset) {
        fetch->wrong = TRUE;
        return refuse(fetch, error, "it has more than the %" G_GUINT64_FORMAT " bytes it should",
                      fetch->blob->size);
    }
    if (!fetch->receiver->write(fetch->receiver->data, bytes, size, error))
        return FALSE;
    if (fetch->hash != NULL)
        varve_digester_update(fetch->hash, bytes, size);
    fetch->offset += size;
    if (fetch->watch != NULL && fetch->watch->progress != NULL)
        fetch->watch->progress(fetch->offset, fetch->blob->size, fetch->watch->progress_data);
    return TRUE;
}

static gboolean
write_body(gpointer data, const void *bytes, gsize size, GError **error)
{
    Fetch *fetch = data;
    gsize known = (gsize)MIN(size, fetch->skip);
    fetch->skip -= known;
    return size == known || take(fetch, (const guint8 *)bytes + known, size - known, error);
}

/* --- the end ---------------------------------------------------------------------------------- */

static gboolean
compare(Fetch *fetch, GError **error)
{
    if (fetch->hash == NULL)
        return fetch->receiver->finish(fetch->receiver->data, error);
    g_autofree char *digest = varve_digester_finish(fetch->hash);
    return g_str_equal(digest, fetch->blob->digest) ||
           varve_error_set(error, VARVE_ERROR_CORRUPT, "its digest is %s", digest);
}

/* All bytes are there: are they the right ones? If not, and they came in pieces, they are worth
 * another try in one. */
static gboolean
finish(Fetch *fetch, VarveRegistryFailure *failure, GError **error)
{
    g_autoptr(GError) problem = NULL;
    if (compare(fetch, &problem))
        return TRUE;
    fetch->wrong = g_error_matches(problem, VARVE_ERROR, VARVE_ERROR_CORRUPT);
    failure->local = !fetch->wrong || fetch->receiver->restart == NULL;
    failure->again = !failure->local && fetch->mixed;
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}

/* Without a receiver that compares, hashes what comes from now on. */
static void
hash_anew(Fetch *fetch)
{
    g_clear_pointer(&fetch->hash, varve_digester_free);
    if (fetch->receiver->finish == NULL)
        fetch->hash = varve_digester_new();
}

static gboolean
start_anew(Fetch *fetch, GError **error)
{
    if (!fetch->receiver->restart(fetch->receiver->data, error))
        return FALSE;
    fetch->offset = fetch->counted = 0;
    fetch->mixed = fetch->wrong = FALSE;
    hash_anew(fetch);
    return TRUE;
}

/* --- attempts --------------------------------------------------------------------------------- */

static gboolean
ask(Fetch *fetch, VarveRegistryEndpoint *endpoint, gboolean ranged, VarveRegistryAnswer *answer,
    VarveRegistryFailure *failure, GError **error)
{
    static const int no_range[] = {416, 0};
    const VarveRegistrySink sink = {begin, write_body, fetch};
    g_autofree char *scope = g_strdup_printf("repository:%s:pull", fetch->name->path);
    g_autofree char *path = g_strdup_printf("%s/blobs/%s", fetch->name->path, fetch->blob->digest);
    g_autofree char *range = g_strdup_printf("Range: bytes=%" G_GUINT64_FORMAT "-", fetch->offset);
    const char *headers[] = {ranged ? range : NULL, NULL};
    g_auto(VarveRegistryRequest) request = {
        .endpoint = endpoint,
        .repository = fetch->name->path,
        .method = "GET",
        .path = path,
        .scopes = scope,
        .headers = headers,
        .sink = &sink,
        .statuses = ranged ? no_range : NULL,
        .watch = fetch->watch,
    };
    return varve_registry_request(fetch->registry, &request, answer, failure, error);
}

/* Judges what ask() said: whether all bytes are there now. */
static gboolean
judge(Fetch *fetch, gboolean answered, gboolean ranged, VarveRegistryEndpoint *endpoint,
      const VarveRegistryAnswer *answer, VarveRegistryFailure *failure, GError **error)
{
    if (!answered) {
        if (fetch->refused) {
            failure->local = fetch->wrong && fetch->receiver->restart == NULL;
            failure->again = fetch->again || (fetch->wrong && fetch->mixed && !failure->local);
        }
        if (fetch->refused && ranged)
            fetch->no_ranges = endpoint;
        return FALSE;
    }
    if (answer->status == 416) {
        fetch->no_ranges = endpoint;
        failure->again = TRUE;
        return varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                               "%s does not send the bytes from %" G_GUINT64_FORMAT " on",
                               endpoint->authority, fetch->offset);
    }
    if (fetch->offset == fetch->blob->size)
        return TRUE;
    failure->again = TRUE;
    return varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                           "%s sent %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " bytes",
                           endpoint->authority, fetch->offset, fetch->blob->size);
}

static gboolean
attempt(gpointer data, VarveRegistryEndpoint *endpoint, gboolean *progress,
        VarveRegistryFailure *failure, GError **error)
{
    Fetch *fetch = data;
    fetch->refused = fetch->again = FALSE;
    failure->local = TRUE;
    if (fetch->wrong && !start_anew(fetch, error))
        return FALSE;
    failure->local = FALSE;
    if (fetch->offset < fetch->blob->size) {
        gboolean ranged = fetch->offset > 0 && fetch->no_ranges != endpoint;
        fetch->mixed |= fetch->offset > 0;
        g_autoptr(VarveRegistryAnswer) answer = varve_registry_answer_new();
        gboolean answered = ask(fetch, endpoint, ranged, answer, failure, error);
        *progress = fetch->offset >= fetch->counted + PROGRESS;
        if (*progress)
            fetch->counted = fetch->offset;
        if (!judge(fetch, answered, ranged, endpoint, answer, failure, error))
            return FALSE;
    }
    return finish(fetch, failure, error);
}

static gboolean
check(const VarveRegistryDescriptor *blob, guint64 offset, const VarveRegistryReceiver *receiver,
      GError **error)
{
    if (!varve_digest_check(blob->digest, error))
        return FALSE;
    if (offset <= blob->size && (offset == 0 || receiver->finish != NULL))
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "it cannot be resumed at byte %" G_GUINT64_FORMAT, offset);
}

gboolean
varve_registry_fetch_blob(VarveRegistry *registry, const VarveReference *name,
                          const VarveRegistryDescriptor *blob, guint64 offset,
                          const VarveRegistryReceiver *receiver, const VarveRegistryWatch *watch,
                          GError **error)
{
    Fetch fetch = {registry, name, blob, receiver, watch};
    fetch.offset = fetch.counted = offset;
    fetch.mixed = offset > 0;
    hash_anew(&fetch);
    gboolean good =
        check(blob, offset, receiver, error) &&
        varve_registry_attempts(registry, name->domain, TRUE, watch, attempt, &fetch, error);
    g_clear_pointer(&fetch.hash, varve_digester_free);
    if (good)
        return TRUE;
    g_prefix_error(error, "fetching blob %s of '%s/%s': ", blob->digest, name->domain, name->path);
    return FALSE;
}
