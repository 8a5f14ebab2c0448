/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blobs that are made while they are sent: their digest is known when all of it has gone. They go
 * in parts (push.h), each of which is kept until the registry has it, so that it can be sent again;
 * what is there as a whole before the first part is full is pushed like any other blob.
 */
#include "image/registry/push.h"
#include <string.h>

#define PART     ((gsize)8 << 20)   /* bytes that are kept and sent at once, */
#define MAX_PART ((gsize)256 << 20) /* where the registry does not want more */

struct VarveRegistryUpload {
    VarveRegistryPush push;
    VarveRegistryDescriptor blob; /* its size is what is known of it so far */
    VarveRegistryContent content;
    VarveDigester *hash;
    GByteArray *part;
    guint64 begin; /* where in the blob the part is */
    gsize full;    /* bytes that make it one */
    gboolean sure; /* the offset is what the registry has */
    gboolean lost;
};

static gssize
read_part(gpointer data, guint64 offset, void *buffer, gsize size, GError **error)
{
    const VarveRegistryUpload *upload = data;
    gsize at = (gsize)(offset - upload->begin), n = MIN(size, upload->part->len - at);
    memcpy(buffer, upload->part->data + at, n);
    return (gssize)n;
}

VarveRegistryUpload *
varve_registry_upload_new(VarveRegistry *registry, const VarveReference *name,
                          const VarveRegistryWatch *watch)
{
    VarveRegistryUpload *upload = g_new0(VarveRegistryUpload, 1);
    upload->content = (VarveRegistryContent){read_part, upload};
    upload->push = (VarveRegistryPush){
        .registry = registry,
        .name = name,
        .blob = &upload->blob,
        .content = &upload->content,
        .watch = watch,
        .scope = g_strdup_printf("repository:%s:pull,push", name->path),
    };
    upload->hash = varve_digester_new();
    upload->part = g_byte_array_new();
    upload->full = PART;
    return upload;
}

void
varve_registry_upload_free(VarveRegistryUpload *upload)
{
    g_clear_pointer(&upload->hash, varve_digester_free);
    g_byte_array_unref(upload->part);
    g_free(upload->push.scope);
    g_free(upload->push.location);
    g_free(upload->blob.digest);
    g_free(upload);
}

gboolean
varve_registry_upload_is_lost(const VarveRegistryUpload *upload)
{
    return upload->lost;
}

/* --- parts ------------------------------------------------------------------------------------ */

/* Finds out, when that is not known, what the registry has; begins the upload if there is none. */
static gboolean
settle(VarveRegistryUpload *upload, VarveRegistryEndpoint *endpoint, VarveRegistryFailure *failure,
       GError **error)
{
    gboolean mounted;
    VarveRegistryPush *push = &upload->push;
    g_autoptr(GError) problem = NULL;
    if (push->location != NULL && !upload->sure &&
        !varve_registry_push_ask(push, endpoint, failure, &problem) && problem != NULL) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    if (push->location == NULL && upload->begin == 0)
        return varve_registry_push_post(push, endpoint, NULL, &mounted, failure, error);
    upload->lost = push->location == NULL || push->offset < upload->begin;
    failure->again = failure->again && !upload->lost;
    return !upload->lost ||
           varve_error_set(
               error, VARVE_ERROR_UNAVAILABLE,
               "%s does not know the upload any more, of which it had %" G_GUINT64_FORMAT " bytes",
               endpoint->authority, upload->begin);
}

/* How much is sent at once is decided when the registry has said what it wants. */
static gboolean
take_wish(VarveRegistryUpload *upload, GError **error)
{
    guint64 wish = upload->push.min_chunk;
    if (wish > MAX_PART)
        return varve_error_set(
            error, VARVE_ERROR_NOT_IMPLEMENTED,
            "the registry takes no parts of less than %" G_GUINT64_FORMAT " bytes", wish);
    upload->full = MAX(upload->full, (gsize)wish);
    return TRUE;
}

static gboolean
attempt_begin(gpointer data, VarveRegistryEndpoint *endpoint, gboolean *progress,
              VarveRegistryFailure *failure, GError **error)
{
    VarveRegistryUpload *upload = data;
    if (upload->push.chunk == 0)
        upload->push.chunk = endpoint->chunk_size;
    upload->sure = settle(upload, endpoint, failure, error);
    return upload->sure && take_wish(upload, error);
}

static gboolean
attempt_part(gpointer data, VarveRegistryEndpoint *endpoint, gboolean *progress,
             VarveRegistryFailure *failure, GError **error)
{
    VarveRegistryUpload *upload = data;
    VarveRegistryPush *push = &upload->push;
    if (!settle(upload, endpoint, failure, error))
        return FALSE;
    upload->sure = FALSE;
    while (push->offset < upload->blob.size) {
        if (!varve_registry_push_chunk(push, endpoint, failure, error)) {
            upload->lost = failure->status == 404;
            return FALSE;
        }
        *progress |= push->offset > push->furthest;
        push->furthest = MAX(push->furthest, push->offset);
    }
    upload->sure = TRUE;
    return TRUE;
}

static gboolean
attempts(VarveRegistryUpload *upload, VarveRegistryAttempt attempt, GError **error)
{
    const VarveRegistryPush *push = &upload->push;
    return varve_registry_attempts(push->registry, push->name->domain, FALSE, push->watch, attempt,
                                   upload, error);
}

static gboolean
send_part(VarveRegistryUpload *upload, GError **error)
{
    if (!attempts(upload, attempt_part, error))
        return FALSE;
    upload->begin = upload->blob.size;
    g_byte_array_set_size(upload->part, 0);
    return TRUE;
}

static gboolean
add(VarveRegistryUpload *upload, const guint8 *bytes, gsize size, GError **error)
{
    while (size > 0) {
        gsize n = MIN(size, upload->full - upload->part->len);
        g_byte_array_append(upload->part, bytes, (guint)n);
        varve_digester_update(upload->hash, bytes, n);
        upload->blob.size += n;
        bytes += n;
        size -= n;
        if (upload->part->len < upload->full)
            continue;
        if (upload->push.location == NULL && !attempts(upload, attempt_begin, error))
            return FALSE;
        if (upload->part->len >= upload->full && !send_part(upload, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
fail(const VarveRegistryUpload *upload, GError **error)
{
    const VarveReference *name = upload->push.name;
    g_prefix_error(error, "uploading a blob to '%s/%s': ", name->domain, name->path);
    return FALSE;
}

gboolean
varve_registry_upload_write(VarveRegistryUpload *upload, const void *bytes, gsize size,
                            GError **error)
{
    return add(upload, bytes, size, error) || fail(upload, error);
}

/* --- the end ---------------------------------------------------------------------------------- */

static gboolean
attempt_end(gpointer data, VarveRegistryEndpoint *endpoint, gboolean *progress,
            VarveRegistryFailure *failure, GError **error)
{
    VarveRegistryUpload *upload = data;
    gboolean there = FALSE;
    if (upload->push.unsure &&
        !varve_registry_push_look(&upload->push, endpoint, &there, failure, error))
        return FALSE;
    if (there)
        return TRUE;
    if (!settle(upload, endpoint, failure, error))
        return FALSE;
    upload->sure = FALSE;
    return varve_registry_push_put(&upload->push, endpoint, failure, error);
}

static gboolean
push_whole(VarveRegistryUpload *upload, VarveRegistryPushed *how, GError **error)
{
    const VarveRegistryPush *push = &upload->push;
    return varve_registry_push_blob(push->registry, push->name, &upload->blob, &upload->content,
                                    NULL, how, push->watch, error);
}

gboolean
varve_registry_upload_finish(VarveRegistryUpload *upload, VarveRegistryDescriptor *blob,
                             VarveRegistryPushed *how, GError **error)
{
    upload->blob.digest = varve_digester_finish(upload->hash);
    *how = VARVE_REGISTRY_UPLOADED;
    if (upload->push.location == NULL && upload->begin == 0) {
        if (!push_whole(upload, how, error))
            return FALSE;
    } else if ((upload->part->len > 0 && !send_part(upload, error)) ||
               !attempts(upload, attempt_end, error)) {
        return fail(upload, error);
    }
    *blob = (VarveRegistryDescriptor){NULL, g_strdup(upload->blob.digest), upload->blob.size};
    return TRUE;
}
