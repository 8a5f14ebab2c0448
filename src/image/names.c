/* SPDX-License-Identifier: Apache-2.0 */
#include "base/digest.h"
#include "image/internal.h"
#include "image/reference.h"
#include <string.h>

/* Names of images: records of the metadata store that lead to manifests and indexes in the content
 * store. */

#define MIN_DIGITS 6 /* of a digest that is cut short */

VarveNaming *
varve_naming_new(const char *name, const VarveDescriptor *target)
{
    VarveNaming *naming = g_new0(VarveNaming, 1);
    naming->name = g_strdup(name);
    naming->target = varve_descriptor_copy(target);
    return naming;
}

void
varve_naming_free(VarveNaming *naming)
{
    if (naming == NULL)
        return;
    g_free(naming->name);
    varve_descriptor_free(naming->target);
    g_free(naming);
}

VarveDescriptor *
varve_names_target(const VarveImageRecord *record)
{
    return varve_descriptor_new(record->target->media_type, record->target->digest,
                                record->target->size);
}

/* --- writing ---------------------------------------------------------------------------------- */

/* Leads one name; it keeps the time when it was made, and both times if it leads there already. */
static gboolean
lead(VarveStoreTxn *txn, const char *name, const Varve__Store__Descriptor *target, GError **error)
{
    g_autoptr(VarveImageRecord) old = NULL;
    if (!varve_record_get_image(txn, name, &old, error))
        return FALSE;
    if (old != NULL && g_str_equal(old->target->digest, target->digest))
        return TRUE;
    VarveImageRecord record = VARVE__STORE__IMAGE__INIT;
    record.name = (char *)name;
    record.target = (Varve__Store__Descriptor *)target;
    record.updated = varve_now();
    record.created = old != NULL ? old->created : record.updated;
    return varve_record_put_image(txn, &record, error);
}

static gboolean
publish(VarveStoreTxn *txn, gpointer data, GError **error)
{
    GPtrArray *namings = data;
    for (guint i = 0; i < namings->len; i++) {
        const VarveNaming *naming = g_ptr_array_index(namings, i);
        Varve__Store__Descriptor target = VARVE__STORE__DESCRIPTOR__INIT;
        target.media_type = naming->target->media_type;
        target.digest = naming->target->digest;
        target.size = naming->target->size;
        if (!lead(txn, naming->name, &target, error)) {
            g_prefix_error(error, "naming an image '%s': ", naming->name);
            return FALSE;
        }
    }
    return TRUE;
}

gboolean
varve_names_publish(VarveImages *images, GPtrArray *namings, GError **error)
{
    return varve_content_store_sync(images->content, error) &&
           varve_store_write(images->engine->store, VARVE_STORE_DURABLE, publish, namings, error);
}

/* --- looking ---------------------------------------------------------------------------------- */

static gboolean
list(VarveStoreTxn *txn, gpointer data, GError **error)
{
    g_ptr_array_set_size(data, 0);
    return varve_record_list_images(txn, data, error);
}

GPtrArray *
varve_names_list(VarveImages *images, GError **error)
{
    g_autoptr(GPtrArray) records =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_image_record_free);
    if (!varve_store_read(images->engine->store, list, records, error))
        return NULL;
    return g_steal_pointer(&records);
}

/* One search, in a transaction of its own or of an operation. */
typedef struct {
    const char *name;
    VarveImageRecord *record;
    gboolean single; /* several names that lead to it are one too many */
} Search;

static const char *
digits_of(const char *name)
{
    const char *digits =
        g_str_has_prefix(name, VARVE_DIGEST_PREFIX) ? varve_digest_hex(name) : name;
    gsize n = strlen(digits);
    return n >= MIN_DIGITS && n <= 64 && strspn(digits, "0123456789abcdef") == n ? digits : NULL;
}

static gboolean
take_match(Search *search, VarveImageRecord **found, GError **error)
{
    const VarveImageRecord *first = search->record, *other = *found;
    if (first == NULL) {
        search->record = g_steal_pointer(found);
        return TRUE;
    }
    if (!g_str_equal(first->target->digest, other->target->digest))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "'%s' begins the digests of several images, '%s' and '%s': give "
                               "more digits",
                               search->name, first->name, other->name);
    return !search->single || varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                                              "'%s' has several names, '%s' and '%s': say which",
                                              search->name, first->name, other->name);
}

static gboolean
search_digits(VarveStoreTxn *txn, const char *digits, Search *search, GError **error)
{
    g_autoptr(GPtrArray) records =
        g_ptr_array_new_with_free_func((GDestroyNotify)varve_image_record_free);
    if (!varve_record_list_images(txn, records, error))
        return FALSE;
    for (guint i = 0; i < records->len; i++) {
        VarveImageRecord **record = (VarveImageRecord **)&records->pdata[i];
        if (g_str_has_prefix(varve_digest_hex((*record)->target->digest), digits) &&
            !take_match(search, record, error))
            return FALSE;
    }
    return TRUE;
}

/* By name first: digits can be a repository's name as well. */
static gboolean
search(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Search *s = data;
    g_autoptr(GError) wrong = NULL;
    const char *digits = digits_of(s->name);
    g_clear_pointer(&s->record, varve_image_record_free);
    g_autofree char *whole = varve_image_name_normalize(s->name, &wrong);
    if (whole != NULL && !varve_record_get_image(txn, whole, &s->record, error))
        return FALSE;
    if (s->record == NULL && digits != NULL && !search_digits(txn, digits, s, error))
        return FALSE;
    if (s->record != NULL)
        return TRUE;
    if (whole == NULL && digits == NULL) {
        g_propagate_error(error, g_steal_pointer(&wrong));
        return FALSE;
    }
    varve_error_set(error, VARVE_ERROR_NOT_FOUND, "there is no image '%s'",
                    whole != NULL ? whole : s->name);
    return FALSE;
}

VarveImageRecord *
varve_names_look_up(VarveImages *images, const char *name, GError **error)
{
    Search s = {.name = name};
    gboolean ok = varve_store_read(images->engine->store, search, &s, error);
    if (!ok)
        g_clear_pointer(&s.record, varve_image_record_free);
    return s.record;
}

/* --- tag and remove --------------------------------------------------------------------------- */

typedef struct {
    Search source;
    const char *target;
} Tag;

static gboolean
tag(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Tag *t = data;
    return search(txn, &t->source, error) && lead(txn, t->target, t->source.record->target, error);
}

gboolean
varve_images_tag(VarveImages *images, const char *source, const char *target, GError **error)
{
    Tag t = {.source = {.name = source}};
    g_autoptr(VarveReference) reference = varve_reference_parse(target, TRUE, error);
    if (reference == NULL)
        return FALSE;
    g_autofree char *whole = varve_reference_format(reference);
    gboolean ok = reference->digest == NULL ||
                  varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "it names a digest");
    t.target = whole;
    ok = ok && varve_store_write(images->engine->store, VARVE_STORE_DURABLE, tag, &t, error);
    g_clear_pointer(&t.source.record, varve_image_record_free);
    if (!ok)
        g_prefix_error(error, "naming image '%s' '%s': ", source, target);
    return ok;
}

static gboolean
remove_name(VarveStoreTxn *txn, gpointer data, GError **error)
{
    Search *s = data;
    return search(txn, s, error) && varve_record_del_image(txn, s->record->name, error);
}

gboolean
varve_images_remove(VarveImages *images, const char *name, GError **error)
{
    Search s = {.name = name, .single = TRUE};
    gboolean ok =
        varve_store_write(images->engine->store, VARVE_STORE_DURABLE, remove_name, &s, error);
    g_clear_pointer(&s.record, varve_image_record_free);
    if (!ok)
        g_prefix_error(error, "removing image '%s': ", name);
    return ok;
}
