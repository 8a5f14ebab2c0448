/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/tar-writer.h"
#include "layer/tar-fields.h"
#include <string.h>

#define ID_LIMIT   ((guint64)1 << 21) /* seven digits */
#define LONG_LIMIT ((guint64)1 << 33) /* eleven */

/* What readers take of an extended header, ours and Go's. */
#define MAX_EXTENDED ((gsize)1024 * 1024)

/* By readers that know no extended headers it is taken for a file. */
#define EXTENDED_NAME "PaxHeaders.0/entry"

struct VarveTarWriter {
    VarveSink sink;
    GString *records; /* of the extended header */
    guint64 left;     /* of the content */
    gsize padding;    /* that follows it */
};

VarveTarWriter *
varve_tar_writer_new(VarveSink sink)
{
    VarveTarWriter *writer = g_new0(VarveTarWriter, 1);
    writer->sink = sink;
    writer->records = g_string_new(NULL);
    return writer;
}

void
varve_tar_writer_free(VarveTarWriter *writer)
{
    if (writer == NULL)
        return;
    g_string_free(writer->records, TRUE);
    g_free(writer);
}

static const guint8 zeros[2 * VARVE_TAR_BLOCK];

static gboolean
put(VarveTarWriter *writer, const void *bytes, gsize size, GError **error)
{
    return writer->sink.write(writer->sink.data, bytes, size, error);
}

static gsize
padding_of(guint64 size)
{
    return (gsize)(-size & (VARVE_TAR_BLOCK - 1));
}

/* --- records --------------------------------------------------------------------------------- */

static gsize
digits_of(gsize number)
{
    gsize digits = 1;
    for (; number >= 10; number /= 10)
        digits++;
    return digits;
}

/* LENGTH KEY=VALUE\n, where the length counts all of it, itself too. */
static void
add_record(VarveTarWriter *writer, const char *prefix, const char *key, const void *value,
           gsize size)
{
    gsize rest = strlen(" =\n") + strlen(prefix) + strlen(key) + size;
    gsize length = rest + digits_of(rest);
    length = rest + digits_of(length);
    g_string_append_printf(writer->records, "%zu %s%s=", length, prefix, key);
    g_string_append_len(writer->records, value, (gssize)size);
    g_string_append_c(writer->records, '\n');
}

static void
add_text(VarveTarWriter *writer, const char *key, const char *value)
{
    add_record(writer, "", key, value, strlen(value));
}

static void
add_number(VarveTarWriter *writer, const char *key, guint64 number)
{
    g_autofree char *text = g_strdup_printf("%" G_GUINT64_FORMAT, number);
    add_text(writer, key, text);
}

/* Nanoseconds count forwards; a time before the epoch is written by its distance from it. */
static void
add_time(VarveTarWriter *writer, const char *key, struct timespec time)
{
    gboolean negative = time.tv_sec < 0;
    guint64 seconds = negative ? -(guint64)time.tv_sec : (guint64)time.tv_sec;
    long rest = time.tv_nsec;
    if (negative && rest > 0) {
        seconds--;
        rest = 1000000000 - rest;
    }
    g_autofree char *text =
        g_strdup_printf("%s%" G_GUINT64_FORMAT ".%09ld", negative ? "-" : "", seconds, rest);
    gsize length = strlen(text);
    while (text[length - 1] == '0')
        length--;
    text[text[length - 1] == '.' ? length - 1 : length] = '\0';
    add_text(writer, key, text);
}

static gboolean
fits_time(struct timespec time)
{
    return time.tv_nsec == 0 && time.tv_sec >= 0 && (guint64)time.tv_sec < LONG_LIMIT;
}

static gboolean
fits_name(const char *name)
{
    return strlen(name) <= TAR_NAME_SIZE;
}

static const char *
target_of(const VarveTarEntry *entry)
{
    return entry->target != NULL ? entry->target : "";
}

static guint64
size_of(const VarveTarEntry *entry)
{
    return entry->type == VARVE_TAR_FILE ? entry->size : 0;
}

static void
add_names(VarveTarWriter *writer, const VarveTarEntry *entry)
{
    const char *target = target_of(entry);
    gboolean name_fits = fits_name(entry->name), target_fits = fits_name(target);
    if ((!name_fits && !g_utf8_validate(entry->name, -1, NULL)) ||
        (!target_fits && !g_utf8_validate(target, -1, NULL)))
        add_text(writer, "hdrcharset", "BINARY");
    if (!name_fits)
        add_text(writer, "path", entry->name);
    if (!target_fits)
        add_text(writer, "linkpath", target);
}

static gboolean
add_xattrs(VarveTarWriter *writer, const VarveTarEntry *entry, GError **error)
{
    for (gsize i = 0; i < entry->n_xattrs; i++) {
        const VarveTarXattr *xattr = &entry->xattrs[i];
        if (strchr(xattr->name, '=') != NULL)
            return varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                                   "its xattr '%s' has a '=' in its name, which tar cannot say",
                                   xattr->name);
        add_record(writer, "SCHILY.xattr.", xattr->name, xattr->value, xattr->size);
    }
    return writer->records->len <= MAX_EXTENDED ||
           varve_error_set(error, VARVE_ERROR_NOT_IMPLEMENTED,
                           "its xattrs have more than the %zu bytes that readers of tar take",
                           MAX_EXTENDED);
}

static gboolean
make_records(VarveTarWriter *writer, const VarveTarEntry *entry, GError **error)
{
    g_string_truncate(writer->records, 0);
    add_names(writer, entry);
    if (size_of(entry) >= LONG_LIMIT)
        add_number(writer, "size", size_of(entry));
    if (entry->uid >= ID_LIMIT)
        add_number(writer, "uid", entry->uid);
    if (entry->gid >= ID_LIMIT)
        add_number(writer, "gid", entry->gid);
    if (!fits_time(entry->mtime))
        add_time(writer, "mtime", entry->mtime);
    return add_xattrs(writer, entry, error);
}

/* --- headers --------------------------------------------------------------------------------- */

/* What does not fit is 0: a record says it. */
static void
set_number(guint8 *block, gsize at, gsize size, guint64 number)
{
    guint64 limit = (guint64)1 << (3 * (size - 1));
    g_snprintf((char *)block + at, size, "%0*" G_GINT64_MODIFIER "o", (int)size - 1,
               number < limit ? number : 0);
}

static void
set_text(guint8 *block, gsize at, const char *text)
{
    memcpy(block + at, text, strnlen(text, TAR_NAME_SIZE));
}

/* The sum of all bytes, those of the sum itself as spaces: six digits, a NUL and a space. */
static void
set_checksum(guint8 *block)
{
    guint sum = 0;
    memset(block + TAR_CHECKSUM, ' ', TAR_SHORT_SIZE);
    for (gsize i = 0; i < VARVE_TAR_BLOCK; i++)
        sum += block[i];
    g_snprintf((char *)block + TAR_CHECKSUM, TAR_SHORT_SIZE, "%06o", sum);
}

static void
make_header(guint8 *block, char type, const VarveTarEntry *entry)
{
    static const guint8 magic[] = {'u', 's', 't', 'a', 'r', '\0', '0', '0'};
    gint64 seconds = entry->mtime.tv_sec;
    memset(block, 0, VARVE_TAR_BLOCK);
    set_text(block, TAR_NAME, entry->name);
    set_text(block, TAR_TARGET, target_of(entry));
    set_number(block, TAR_MODE, TAR_SHORT_SIZE, entry->mode);
    set_number(block, TAR_UID, TAR_SHORT_SIZE, entry->uid);
    set_number(block, TAR_GID, TAR_SHORT_SIZE, entry->gid);
    set_number(block, TAR_SIZE, TAR_LONG_SIZE, size_of(entry));
    set_number(block, TAR_MTIME, TAR_LONG_SIZE, seconds > 0 ? (guint64)seconds : 0);
    set_number(block, TAR_MAJOR, TAR_SHORT_SIZE, entry->major);
    set_number(block, TAR_MINOR, TAR_SHORT_SIZE, entry->minor);
    block[TAR_TYPE] = (guint8)type;
    memcpy(block + TAR_MAGIC, magic, sizeof magic);
    set_checksum(block);
}

static gboolean
put_extended(VarveTarWriter *writer, GError **error)
{
    guint8 block[VARVE_TAR_BLOCK];
    const GString *records = writer->records;
    const VarveTarEntry entry = {
        .type = VARVE_TAR_FILE, .name = (char *)EXTENDED_NAME, .mode = 0644, .size = records->len};
    make_header(block, 'x', &entry);
    return put(writer, block, sizeof block, error) &&
           put(writer, records->str, records->len, error) &&
           put(writer, zeros, padding_of(records->len), error);
}

gboolean
varve_tar_writer_add(VarveTarWriter *writer, const VarveTarEntry *entry, GError **error)
{
    static const char types[] = {
        [VARVE_TAR_FILE] = '0',      [VARVE_TAR_LINK] = '1', [VARVE_TAR_SYMLINK] = '2',
        [VARVE_TAR_CHAR] = '3',      [VARVE_TAR_FIFO] = '6', [VARVE_TAR_BLOCK_DEVICE] = '4',
        [VARVE_TAR_DIRECTORY] = '5',
    };
    guint8 block[VARVE_TAR_BLOCK];
    g_assert(writer->left == 0);
    if (!make_records(writer, entry, error) ||
        (writer->records->len > 0 && !put_extended(writer, error)))
        return FALSE;
    make_header(block, types[entry->type], entry);
    writer->left = size_of(entry);
    writer->padding = padding_of(writer->left);
    return put(writer, block, sizeof block, error);
}

gboolean
varve_tar_writer_write(VarveTarWriter *writer, const void *bytes, gsize size, GError **error)
{
    g_assert(size <= writer->left);
    writer->left -= size;
    return put(writer, bytes, size, error) &&
           (writer->left > 0 || put(writer, zeros, writer->padding, error));
}

gboolean
varve_tar_writer_finish(VarveTarWriter *writer, GError **error)
{
    g_assert(writer->left == 0);
    return put(writer, zeros, sizeof zeros, error);
}
