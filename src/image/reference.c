/* SPDX-License-Identifier: Apache-2.0 */
#include "image/reference.h"
#include "base/digest.h"
#include <string.h>
#include <varve/image.h>

#define MAX_NAME       255
#define MAX_TAG        128
#define DEFAULT_DOMAIN "docker.io"
#define LEGACY_DOMAIN  "index.docker.io"
#define LIBRARY        "library/"

#define LOWER  "abcdefghijklmnopqrstuvwxyz"
#define UPPER  "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static gboolean
wrong(const char *text, const char *why, GError **error)
{
    varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "'%.*s' is no name of an image: %s",
                    VARVE_REFERENCE_MAX, text, why);
    return FALSE;
}

/* --- the grammar's parts ---------------------------------------------------------------------- */

/* The length of a separator inside a component of a path: one ".", one or two "_", any "-". */
static gsize
separator_length(const char *text)
{
    if (*text == '.')
        return 1;
    if (*text == '_')
        return text[1] == '_' ? 2 : 1;
    return strspn(text, "-");
}

static gboolean
is_path(const char *path)
{
    for (;;) {
        gsize n = strspn(path, LOWER DIGITS);
        if (n == 0)
            return FALSE;
        path += n;
        if (*path == '\0')
            return TRUE;
        path += *path == '/' ? 1 : separator_length(path);
    }
}

/* Labels of letters, digits and inner hyphens, joined by dots. */
static gboolean
is_host_name(const char *host, gsize length)
{
    g_autofree char *copy = g_strndup(host, length);
    g_auto(GStrv) labels = g_strsplit(copy, ".", -1);
    for (char **label = labels; *label != NULL; label++) {
        gsize n = strlen(*label);
        if (n == 0 || strspn(*label, LOWER UPPER DIGITS "-") != n || (*label)[0] == '-' ||
            (*label)[n - 1] == '-')
            return FALSE;
    }
    return labels[0] != NULL;
}

static gboolean
is_domain(const char *domain)
{
    const char *end;
    gboolean good;
    if (*domain == '[') { /* an IPv6 address, without a zone */
        end = domain + 1 + strspn(domain + 1, "abcdefABCDEF" DIGITS ":");
        good = end > domain + 1 && *end == ']';
        end += good;
    } else {
        end = domain + strcspn(domain, ":");
        good = is_host_name(domain, (gsize)(end - domain));
    }
    if (good && *end == ':')
        good = end[1] != '\0' && strspn(end + 1, DIGITS) == strlen(end + 1);
    else
        good = good && *end == '\0';
    return good;
}

gboolean
varve_reference_is_tag(const char *text)
{
    gsize n = strlen(text);
    return n >= 1 && n <= MAX_TAG && strspn(text, LOWER UPPER DIGITS "_.-") == n &&
           text[0] != '.' && text[0] != '-';
}

static gboolean
is_hex_id(const char *text)
{
    return strlen(text) == 64 && strspn(text, "abcdef" DIGITS) == 64;
}

/* --- parsing ---------------------------------------------------------------------------------- */

/* Whether what stands before the first slash is a domain. */
static gboolean
begins_with_domain(const char *name, gsize length)
{
    g_autofree char *first = g_strndup(name, length);
    return strpbrk(first, ".:" UPPER) != NULL || g_str_equal(first, "localhost");
}

static void
split_domain(VarveReference *reference, const char *name)
{
    const char *slash = strchr(name, '/');
    if (slash != NULL && begins_with_domain(name, (gsize)(slash - name))) {
        reference->domain = g_strndup(name, (gsize)(slash - name));
        name = slash + 1;
    }
    if (reference->domain == NULL || g_str_equal(reference->domain, LEGACY_DOMAIN)) {
        g_free(reference->domain);
        reference->domain = g_strdup(DEFAULT_DOMAIN);
    }
    gboolean bare = g_str_equal(reference->domain, DEFAULT_DOMAIN) && strchr(name, '/') == NULL;
    reference->path = g_strconcat(bare ? LIBRARY : "", name, NULL);
}

/* Cuts digest and tag off the end of name. */
static gboolean
split_end(VarveReference *reference, const char *text, char *name, GError **error)
{
    char *at = strchr(name, '@');
    if (at != NULL) {
        reference->digest = g_strdup(at + 1);
        *at = '\0';
        if (!varve_digest_check(reference->digest, NULL))
            return wrong(text, "what follows the @ must be sha256: and 64 hexadecimal digits",
                         error);
    }
    char *slash = strrchr(name, '/');
    char *colon = strchr(slash != NULL ? slash : name, ':');
    if (colon != NULL) {
        reference->tag = g_strdup(colon + 1);
        *colon = '\0';
        if (!varve_reference_is_tag(reference->tag))
            return wrong(text, "a tag is 1 to 128 letters, digits, and _ . - but not first", error);
    }
    return TRUE;
}

static gboolean
parse(VarveReference *reference, const char *text, gboolean latest, GError **error)
{
    if (*text == '\0')
        return wrong(text, "it is empty", error);
    if (is_hex_id(text))
        return wrong(text, "64 hexadecimal digits would be taken for a digest", error);
    g_autofree char *name = g_strdup(text);
    if (!split_end(reference, text, name, error))
        return FALSE;
    split_domain(reference, name);
    if (strpbrk(reference->path, UPPER) != NULL)
        return wrong(text, "the repository must be in lower case", error);
    if (!is_path(reference->path))
        return wrong(text,
                     "a repository is lower-case letters and digits, with / . _ __ - between them",
                     error);
    if (!is_domain(reference->domain))
        return wrong(text, "what is before the first slash must be a host, or a host and a port",
                     error);
    if (strlen(reference->domain) + 1 + strlen(reference->path) > MAX_NAME)
        return wrong(text, "host and repository are longer than 255 bytes", error);

    if (reference->digest != NULL)
        g_clear_pointer(&reference->tag, g_free); /* the digest says it all */
    else if (reference->tag == NULL && latest)
        reference->tag = g_strdup("latest");
    return TRUE;
}

VarveReference *
varve_reference_parse(const char *text, gboolean latest, GError **error)
{
    g_autoptr(VarveReference) reference = g_new0(VarveReference, 1);
    return parse(reference, text, latest, error) ? g_steal_pointer(&reference) : NULL;
}

void
varve_reference_free(VarveReference *reference)
{
    if (reference == NULL)
        return;
    g_free(reference->domain);
    g_free(reference->path);
    g_free(reference->tag);
    g_free(reference->digest);
    g_free(reference);
}

/* --- as text ---------------------------------------------------------------------------------- */

static char *
join(const VarveReference *reference, const char *name)
{
    return g_strconcat(name, reference->tag != NULL ? ":" : "",
                       reference->tag != NULL ? reference->tag : "",
                       reference->digest != NULL ? "@" : "",
                       reference->digest != NULL ? reference->digest : "", NULL);
}

char *
varve_reference_format(const VarveReference *reference)
{
    g_autofree char *name = g_strconcat(reference->domain, "/", reference->path, NULL);
    return join(reference, name);
}

char *
varve_reference_familiar(const VarveReference *reference)
{
    if (!g_str_equal(reference->domain, DEFAULT_DOMAIN))
        return varve_reference_format(reference);
    const char *path = reference->path;
    gboolean official = strncmp(path, LIBRARY, strlen(LIBRARY)) == 0;
    const char *rest = official ? path + strlen(LIBRARY) : path;
    const char *slash = strchr(path, '/');
    /* A repository of a name with a dot would read as a host. */
    if (slash != NULL && begins_with_domain(path, (gsize)(slash - path)))
        return varve_reference_format(reference);
    /* One whose only component follows library/ reads as itself again; others do not. */
    return join(reference, strchr(rest, '/') == NULL ? rest : path);
}

char *
varve_image_name_normalize(const char *name, GError **error)
{
    g_autoptr(VarveReference) reference = varve_reference_parse(name, TRUE, error);
    return reference != NULL ? varve_reference_format(reference) : NULL;
}

char *
varve_image_name_familiar(const char *name)
{
    g_autoptr(VarveReference) reference = varve_reference_parse(name, TRUE, NULL);
    return reference != NULL ? varve_reference_familiar(reference) : g_strdup(name);
}
