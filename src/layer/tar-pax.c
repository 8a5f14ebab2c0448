/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/tar-internal.h"
#include <string.h>

#define ID_MAX        ((guint64)G_MAXUINT32 - 1)
#define SIZE_MAX_FILE ((guint64)G_MAXINT64 - VARVE_TAR_BLOCK)

static gboolean
bad(const char *key, GError **error)
{
    g_autofree char *printable = g_strescape(key, NULL);
    return varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "the value of '%s' in its extended header is not valid", printable);
}

/* --- values ---------------------------------------------------------------------------------- */

gboolean
varve_tar_decimal(const char *text, gsize size, guint64 *number)
{
    guint64 value = 0;
    for (gsize i = 0; i < size; i++) {
        if (!g_ascii_isdigit(text[i]) || !g_uint64_checked_mul(&value, value, 10) ||
            !g_uint64_checked_add(&value, value, (guint64)(text[i] - '0')))
            return FALSE;
    }
    *number = value;
    return size > 0;
}

typedef struct {
    char *key;
    char *value; /* followed by a NUL */
    gsize size;
} Record;

static gboolean
number_value(const Record *record, guint64 max, guint64 *number, GError **error)
{
    return (varve_tar_decimal(record->value, record->size, number) && *number <= max) ||
           bad(record->key, error);
}

static gboolean
id_value(const Record *record, guint32 *id, gboolean *has, GError **error)
{
    guint64 number;
    if (!number_value(record, ID_MAX, &number, error))
        return FALSE;
    *id = (guint32)number;
    *has = TRUE;
    return TRUE;
}

static gboolean
string_value(const Record *record, char **string, GError **error)
{
    if (memchr(record->value, '\0', record->size) != NULL)
        return bad(record->key, error);
    *string = record->value;
    return TRUE;
}

/* The first nine digits after the point count. */
static gboolean
nanoseconds(const char *text, gsize size, long *result)
{
    long value = 0;
    for (gsize i = 0; i < MAX(size, 9); i++) {
        if (i < size && !g_ascii_isdigit(text[i]))
            return FALSE;
        if (i < 9)
            value = value * 10 + (i < size ? text[i] - '0' : 0);
    }
    *result = value;
    return TRUE;
}

/* [-]SECONDS[.FRACTION] */
static gboolean
time_value(const Record *record, struct timespec *time, gboolean *has, GError **error)
{
    gboolean negative = record->value[0] == '-';
    const char *text = record->value + negative, *end = record->value + record->size;
    const char *point = memchr(text, '.', (gsize)(end - text));
    const char *stop = point != NULL ? point : end;
    const char *fraction = point != NULL ? point + 1 : end;
    guint64 seconds;
    if (!varve_tar_decimal(text, (gsize)(stop - text), &seconds) || seconds >= G_MAXINT64 ||
        !nanoseconds(fraction, (gsize)(end - fraction), &time->tv_nsec))
        return bad(record->key, error);
    time->tv_sec = negative ? -(gint64)seconds : (gint64)seconds;
    if (negative && time->tv_nsec > 0) { /* nanoseconds count forwards from the second before */
        time->tv_sec--;
        time->tv_nsec = 1000000000 - time->tv_nsec;
    }
    *has = TRUE;
    return TRUE;
}

/* --- xattrs ---------------------------------------------------------------------------------- */

static gboolean
add_xattr(VarveTarPax *pax, const Record *record, char *name, gsize size, GError **error)
{
    if (name[0] == '\0')
        return bad(record->key, error);
    VarveTarXattr xattr = {name, (guint8 *)record->value, size};
    g_array_append_val(pax->xattrs, xattr);
    return TRUE;
}

/* libarchive writes names with %XX and values in base64 without padding. */
static void
decode_percent(char *text)
{
    char *to = text;
    for (char *from = text; *from != '\0'; from++) {
        if (from[0] == '%' && g_ascii_isxdigit(from[1]) && g_ascii_isxdigit(from[2])) {
            *to++ = (char)(g_ascii_xdigit_value(from[1]) << 4 | g_ascii_xdigit_value(from[2]));
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
}

static gboolean
is_base64(const char *text, gsize size)
{
    for (gsize i = 0; i < size; i++) {
        if (!g_ascii_isalnum(text[i]) && text[i] != '+' && text[i] != '/' && text[i] != '=')
            return FALSE;
    }
    return TRUE;
}

static gboolean
add_libarchive_xattr(VarveTarPax *pax, const Record *record, char *name, GError **error)
{
    if (!is_base64(record->value, record->size) || record->size % 4 == 1)
        return bad(record->key, error);
    /* In place: what was read is always ahead of what is written. */
    gsize missing = (4 - record->size % 4) % 4;
    guint8 *value = (guint8 *)record->value;
    int state = 0;
    guint save = 0;
    gsize size = g_base64_decode_step(record->value, record->size, value, &state, &save);
    size += g_base64_decode_step("==", missing, value + size, &state, &save);
    decode_percent(name);
    return add_xattr(pax, record, name, size, error);
}

/* --- sparse files ---------------------------------------------------------------------------- */

/* Format 0.1: OFFSET,SIZE,OFFSET,SIZE,... */
static gboolean
parse_map(VarveTarPax *pax, const Record *record, GError **error)
{
    guint64 numbers[2];
    guint n = 0;
    g_array_set_size(pax->segments, 0);
    for (const char *text = record->value, *end = text + record->size; text < end;) {
        const char *comma = memchr(text, ',', (gsize)(end - text));
        const char *stop = comma != NULL ? comma : end;
        if (!varve_tar_decimal(text, (gsize)(stop - text), &numbers[n++]))
            return bad(record->key, error);
        if (n == 2 && !varve_tar_sparse_add(pax->segments, numbers[0], numbers[1], error))
            return FALSE;
        n %= 2;
        text = stop + 1;
    }
    return n == 0 || bad(record->key, error);
}

/* Format 0.0: offset and numbytes by turns. */
static gboolean
parse_sparse_pair(VarveTarPax *pax, const Record *record, gboolean is_offset, GError **error)
{
    guint64 number;
    if (!number_value(record, SIZE_MAX_FILE, &number, error))
        return FALSE;
    if (is_offset == pax->has_sparse_offset)
        return bad(record->key, error);
    pax->has_sparse_offset = is_offset;
    if (!is_offset)
        return varve_tar_sparse_add(pax->segments, pax->sparse_offset, number, error);
    pax->sparse_offset = number;
    return TRUE;
}

static gboolean
parse_sparse(VarveTarPax *pax, const Record *record, const char *what, GError **error)
{
    if (g_str_equal(what, "name"))
        return string_value(record, &pax->sparse_name, error);
    if (g_str_equal(what, "major"))
        return string_value(record, &pax->sparse_major, error);
    if (g_str_equal(what, "minor"))
        return string_value(record, &pax->sparse_minor, error);
    if (g_str_equal(what, "size") || g_str_equal(what, "realsize")) {
        pax->has_real_size = TRUE;
        return number_value(record, SIZE_MAX_FILE, &pax->real_size, error);
    }
    pax->sparse = TRUE;
    if (g_str_equal(what, "map"))
        return parse_map(pax, record, error);
    if (g_str_equal(what, "offset") || g_str_equal(what, "numbytes"))
        return parse_sparse_pair(pax, record, what[0] == 'o', error);
    return TRUE; /* numblocks: the number of segments, which are counted here */
}

static gboolean
finish_sparse(VarveTarPax *pax, GError **error)
{
    if (pax->sparse_major != NULL && !g_str_equal(pax->sparse_major, "0")) {
        const char *minor = pax->sparse_minor != NULL ? pax->sparse_minor : "";
        if (!g_str_equal(pax->sparse_major, "1") || !g_str_equal(minor, "0"))
            return bad("GNU.sparse.major", error);
        pax->sparse = pax->sparse_in_content = TRUE;
        g_array_set_size(pax->segments, 0);
    }
    if (pax->sparse && !pax->has_real_size)
        return bad("GNU.sparse.realsize", error);
    return !pax->has_sparse_offset || bad("GNU.sparse.offset", error);
}

/* --- records --------------------------------------------------------------------------------- */

static gboolean
parse_record(VarveTarPax *pax, const Record *record, GError **error)
{
    char *key = record->key;
    static const char schily[] = "SCHILY.xattr.", libarchive[] = "LIBARCHIVE.xattr.";
    static const char sparse[] = "GNU.sparse.";
    if (g_str_has_prefix(key, schily))
        return add_xattr(pax, record, key + strlen(schily), record->size, error);
    if (g_str_has_prefix(key, libarchive))
        return add_libarchive_xattr(pax, record, key + strlen(libarchive), error);
    if (record->size == 0) /* as if it were not there: the header's own field counts */
        return TRUE;
    if (g_str_has_prefix(key, sparse))
        return parse_sparse(pax, record, key + strlen(sparse), error);
    if (g_str_equal(key, "path"))
        return string_value(record, &pax->path, error);
    if (g_str_equal(key, "linkpath"))
        return string_value(record, &pax->target, error);
    if (g_str_equal(key, "size")) {
        pax->has_size = TRUE;
        return number_value(record, SIZE_MAX_FILE, &pax->size, error);
    }
    if (g_str_equal(key, "uid"))
        return id_value(record, &pax->uid, &pax->has_uid, error);
    if (g_str_equal(key, "gid"))
        return id_value(record, &pax->gid, &pax->has_gid, error);
    if (g_str_equal(key, "mtime"))
        return time_value(record, &pax->mtime, &pax->has_mtime, error);
    if (g_str_equal(key, "atime"))
        return time_value(record, &pax->atime, &pax->has_atime, error);
    return TRUE;
}

/* LENGTH KEY=VALUE\n, where the length counts all of it. Cuts the record into its parts. */
static gboolean
cut_record(char *text, gsize left, gsize *length, Record *record, GError **error)
{
    const char *space = memchr(text, ' ', MIN(left, 20));
    guint64 number;
    if (space == NULL || !varve_tar_decimal(text, (gsize)(space - text), &number) ||
        number > left || number < (guint64)(space - text) + 4 || text[number - 1] != '\n')
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "its extended header has a record that is not valid");
    char *end = text + number - 1;
    char *key = text + (space - text) + 1;
    char *equals = memchr(key, '=', (gsize)(end - key));
    if (equals == NULL || equals == key || memchr(key, '\0', (gsize)(equals - key)) != NULL)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "its extended header has a record without a key");
    *equals = *end = '\0';
    *record = (Record){key, equals + 1, (gsize)(end - equals - 1)};
    *length = number;
    return TRUE;
}

void
varve_tar_pax_reset(VarveTarPax *pax)
{
    GArray *xattrs = pax->xattrs, *segments = pax->segments;
    *pax = (VarveTarPax){0};
    pax->xattrs = xattrs != NULL ? xattrs : g_array_new(FALSE, FALSE, sizeof(VarveTarXattr));
    pax->segments =
        segments != NULL ? segments : g_array_new(FALSE, FALSE, sizeof(VarveTarSegment));
    g_array_set_size(pax->xattrs, 0);
    g_array_set_size(pax->segments, 0);
}

gboolean
varve_tar_pax_parse(VarveTarPax *pax, char *body, gsize size, GError **error)
{
    varve_tar_pax_reset(pax);
    gsize length = 0;
    for (gsize at = 0; at < size; at += length) {
        Record record = {0};
        if (!cut_record(body + at, size - at, &length, &record, error) ||
            !parse_record(pax, &record, error))
            return FALSE;
    }
    return finish_sparse(pax, error);
}
