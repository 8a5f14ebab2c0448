/* SPDX-License-Identifier: Apache-2.0 */
#include "image/layout.h"
#include "image/internal.h"
#include "image/media-types.h"
#include "image/reference.h"
#include <string.h>

VarveOffer *
varve_offer_new(VarveDescriptor *target)
{
    VarveOffer *offer = g_new0(VarveOffer, 1);
    offer->target = target;
    offer->names = g_ptr_array_new_with_free_func(g_free);
    offer->aliases = g_ptr_array_new_with_free_func(g_free);
    return offer;
}

void
varve_offer_free(VarveOffer *offer)
{
    if (offer == NULL)
        return;
    varve_descriptor_free(offer->target);
    g_ptr_array_unref(offer->names);
    g_ptr_array_unref(offer->aliases);
    g_free(offer);
}

/* --- parsing ---------------------------------------------------------------------------------- */

gboolean
varve_layout_check_version(const char *text, gsize size, GError **error)
{
    const char *version = NULL;
    json_auto_t *object = varve_json_parse(text, size, VARVE_LAYOUT_MAX, JSON_OBJECT, error);
    if (object == NULL || !varve_json_get_string(object, "imageLayoutVersion", &version, error)) {
        g_prefix_error(error, VARVE_LAYOUT_FILE ": ");
        return FALSE;
    }
    return (version != NULL && g_str_has_prefix(version, "1.")) ||
           varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                           VARVE_LAYOUT_FILE ": the layout has version '%.20s', this Varve reads "
                                             "version 1",
                           version != NULL ? version : "");
}

/* containerd gives the whole name in an annotation of its own, and in the standard one the tag;
 * others give in the standard one whatever they were told. */
static VarveOffer *
offer_manifest(const VarveDescriptor *descriptor)
{
    VarveOffer *offer = varve_offer_new(varve_descriptor_copy(descriptor));
    const char *name = varve_descriptor_annotation(descriptor, VARVE_ANNOTATION_IMAGE_NAME);
    const char *ref = varve_descriptor_annotation(descriptor, VARVE_ANNOTATION_REF_NAME);
    if (name != NULL && *name != '\0') {
        g_ptr_array_add(offer->names, g_strdup(name));
        if (ref != NULL)
            g_ptr_array_add(offer->aliases, g_strdup(ref));
    } else if (ref != NULL && *ref != '\0') {
        g_ptr_array_add(offer->names, g_strdup(ref));
    }
    return offer;
}

GPtrArray *
varve_layout_parse_index(const char *text, gsize size, GError **error)
{
    g_autoptr(VarveManifest) index = varve_manifest_parse(text, size, NULL, error);
    if (index != NULL && !index->is_index) {
        varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "manifests: is missing");
        g_clear_pointer(&index, varve_manifest_free);
    }
    if (index == NULL) {
        g_prefix_error(error, VARVE_LAYOUT_INDEX ": ");
        return NULL;
    }
    GPtrArray *offers = g_ptr_array_new_with_free_func((GDestroyNotify)varve_offer_free);
    for (guint i = 0; i < index->blobs->len; i++)
        g_ptr_array_add(offers, offer_manifest(g_ptr_array_index(index->blobs, i)));
    return offers;
}

/* --- choosing --------------------------------------------------------------------------------- */

/* Whether two names are one, however they are written. */
static gboolean
same_name(const char *a, const char *b)
{
    if (g_str_equal(a, b))
        return TRUE;
    g_autofree char *whole_a = varve_image_name_normalize(a, NULL);
    g_autofree char *whole_b = varve_image_name_normalize(b, NULL);
    return whole_a != NULL && whole_b != NULL && g_str_equal(whole_a, whole_b);
}

static const char *
find_name(const GPtrArray *names, const char *name)
{
    for (guint i = 0; i < names->len; i++) {
        if (same_name(g_ptr_array_index(names, i), name))
            return g_ptr_array_index(names, i);
    }
    return NULL;
}

/* The tag in a name, or a tag alone; NULL for none. */
static char *
tag_of(const char *name)
{
    if (strpbrk(name, "/:@") == NULL && varve_reference_is_tag(name))
        return g_strdup(name);
    g_autoptr(VarveReference) reference = varve_reference_parse(name, FALSE, NULL);
    return reference != NULL ? g_strdup(reference->tag) : NULL;
}

typedef struct {
    const VarveImageImport *options;
    VarveReference *wish;   /* options->name */
    GPtrArray *namings;     /* the result */
    GHashTable *taken;      /* name -> digest */
    const char *unnameable; /* a tag that was met alone */
} Chooser;

static gboolean
add_naming(Chooser *chooser, const char *name, const VarveDescriptor *target, GError **error)
{
    const char *other = g_hash_table_lookup(chooser->taken, name);
    if (other != NULL && !g_str_equal(other, target->digest))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "several of its images would be called '%s': choose one of them",
                               name);
    if (other != NULL)
        return TRUE;
    VarveNaming *naming = varve_naming_new(name, target);
    g_ptr_array_add(chooser->namings, naming);
    g_hash_table_insert(chooser->taken, naming->name, naming->target->digest);
    return TRUE;
}

/* By the name that was wished; what it lacks comes from the archive's, which may be NULL. */
static gboolean
add_as_wished(Chooser *chooser, const char *name, const VarveDescriptor *target, GError **error)
{
    const VarveReference *wish = chooser->wish;
    VarveReference whole = *wish;
    g_autofree char *tag = wish->tag == NULL && wish->digest == NULL && name != NULL
                               ? tag_of(name)
                               : g_strdup(wish->tag);
    if (wish->digest != NULL && !g_str_equal(wish->digest, target->digest))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "the image has the digest %s, not the one of its name",
                               target->digest);
    char latest[] = "latest";
    whole.tag = tag != NULL || wish->digest != NULL ? tag : latest;
    g_autofree char *text = varve_reference_format(&whole);
    return add_naming(chooser, text, target, error);
}

static gboolean
add_as_told(Chooser *chooser, const char *name, const VarveDescriptor *target, GError **error)
{
    if (strpbrk(name, "/:@") == NULL) {
        chooser->unnameable = name; /* "latest", "1.0": of what? */
        return TRUE;
    }
    g_autofree char *whole = varve_image_name_normalize(name, error);
    return whole != NULL && add_naming(chooser, whole, target, error);
}

static gboolean
choose_from(Chooser *chooser, const VarveOffer *offer, gboolean alone, GError **error)
{
    const VarveImageImport *options = chooser->options;
    const char *only = options->only;
    const char *found = only == NULL ? NULL : find_name(offer->names, only);
    if (only != NULL && found == NULL && find_name(offer->aliases, only) == NULL)
        return TRUE;
    if (only == NULL && offer->names->len == 0)
        return !alone || chooser->wish == NULL ||
               add_as_wished(chooser, NULL, offer->target, error);
    for (guint i = 0; i < offer->names->len; i++) {
        const char *name = g_ptr_array_index(offer->names, i);
        if (found != NULL && name != found)
            continue;
        if (!(chooser->wish != NULL ? add_as_wished(chooser, name, offer->target, error)
                                    : add_as_told(chooser, name, offer->target, error)))
            return FALSE;
    }
    return TRUE;
}

static gboolean
none_chosen(const Chooser *chooser, const GPtrArray *offers, GError **error)
{
    const char *only = chooser->options->only;
    if (offers->len == 0)
        return varve_error_set(error, VARVE_ERROR_NOT_FOUND, "there is no image in it");
    if (chooser->unnameable != NULL)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "it calls its image '%.128s', which is a tag without a repository: "
                               "say what it is to be called here",
                               chooser->unnameable);
    if (only != NULL)
        return varve_error_set(error, VARVE_ERROR_NOT_FOUND, "there is no image '%s' in it", only);
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "it does not say what its image%s called: say what %s to be called here",
                           offers->len == 1 ? " is" : "s are",
                           offers->len == 1 ? "it is" : "one of them is");
}

static gboolean
choose(Chooser *chooser, GPtrArray *offers, GError **error)
{
    const char *wish = chooser->options->name;
    if (wish != NULL) {
        chooser->wish = varve_reference_parse(wish, FALSE, error);
        if (chooser->wish == NULL)
            return FALSE;
    }
    for (guint i = 0; i < offers->len; i++) {
        const VarveOffer *offer = g_ptr_array_index(offers, i);
        if (!choose_from(chooser, offer, offers->len == 1, error))
            return FALSE;
    }
    return chooser->namings->len > 0 || none_chosen(chooser, offers, error);
}

GPtrArray *
varve_layout_choose(GPtrArray *offers, const VarveImageImport *options, GError **error)
{
    const VarveImageImport nothing = {0};
    Chooser chooser = {.options = options != NULL ? options : &nothing};
    chooser.namings = g_ptr_array_new_with_free_func((GDestroyNotify)varve_naming_free);
    chooser.taken = g_hash_table_new(g_str_hash, g_str_equal);
    gboolean ok = choose(&chooser, offers, error);
    g_hash_table_unref(chooser.taken);
    varve_reference_free(chooser.wish);
    if (!ok)
        g_clear_pointer(&chooser.namings, g_ptr_array_unref);
    return chooser.namings;
}
