/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/tar-internal.h"
#include <string.h>

/* Of one pax header or long name; Go has the same limit. */
#define MAX_EXTENDED ((guint64)1024 * 1024)

struct VarveTar {
    VarveTarInput input;
    const guint8 *bytes; /* what of the input's last piece was not taken */
    gsize left;
    guint64 at; /* bytes that were taken */
    guint8 block[VARVE_TAR_BLOCK];

    VarveTarHeader header;
    VarveTarPax pax;
    gboolean has_pax;
    GByteArray *pax_body, *long_name, *long_target;

    VarveTarEntry entry;
    guint64 stored;  /* bytes of content that follow */
    guint64 padding; /* and then these */
    guint64 position;
    guint segment; /* the number of the one that is next, and what was read of it */
    guint64 segment_done;
    gboolean ended; /* the input has */
};

/* --- input ----------------------------------------------------------------------------------- */

/* Makes sure that some bytes are there, unless it is the end, which the input tells but once. */
static gboolean
need_bytes(VarveTar *tar, GError **error)
{
    if (tar->left > 0 || tar->ended)
        return TRUE;
    if (!tar->input.next(tar->input.data, &tar->bytes, &tar->left, error))
        return FALSE;
    tar->ended = tar->left == 0;
    return TRUE;
}

static gboolean
truncated(VarveTar *tar, GError **error)
{
    return varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "the archive is truncated: it ends after %" G_GUINT64_FORMAT
                           " bytes, in the middle",
                           tar->at);
}

static gboolean
must_have_bytes(VarveTar *tar, GError **error)
{
    return need_bytes(tar, error) && (tar->left > 0 || truncated(tar, error));
}

static const guint8 *
take(VarveTar *tar, gsize size)
{
    const guint8 *bytes = tar->bytes;
    tar->bytes += size;
    tar->left -= size;
    tar->at += size;
    return bytes;
}

/* The next block; nearly always where it stands. */
static const guint8 *
take_block(VarveTar *tar, GError **error)
{
    if (!must_have_bytes(tar, error))
        return NULL;
    if (tar->left >= VARVE_TAR_BLOCK)
        return take(tar, VARVE_TAR_BLOCK);
    for (gsize have = 0; have < VARVE_TAR_BLOCK;) {
        if (!must_have_bytes(tar, error))
            return NULL;
        gsize n = MIN(tar->left, VARVE_TAR_BLOCK - have);
        memcpy(tar->block + have, take(tar, n), n);
        have += n;
    }
    return tar->block;
}

static gboolean
skip(VarveTar *tar, guint64 size, GError **error)
{
    while (size > 0) {
        if (!must_have_bytes(tar, error))
            return FALSE;
        gsize n = (gsize)MIN(tar->left, size);
        take(tar, n);
        size -= n;
    }
    return TRUE;
}

static guint64
padding_of(guint64 size)
{
    return (VARVE_TAR_BLOCK - size % VARVE_TAR_BLOCK) % VARVE_TAR_BLOCK;
}

/* Reads what an extended header holds; a NUL follows it, uncounted. */
static gboolean
read_body(VarveTar *tar, GByteArray *body, GError **error)
{
    guint64 size = tar->header.size;
    if (size > MAX_EXTENDED)
        return varve_error_set(error, VARVE_ERROR_CORRUPT,
                               "its extended header has %" G_GUINT64_FORMAT
                               " bytes; more than %" G_GUINT64_FORMAT " are not accepted",
                               size, MAX_EXTENDED);
    g_byte_array_set_size(body, 0);
    while (body->len < size) {
        if (!must_have_bytes(tar, error))
            return FALSE;
        gsize n = (gsize)MIN(tar->left, size - body->len);
        g_byte_array_append(body, take(tar, n), (guint)n);
    }
    g_byte_array_append(body, (const guint8 *)"", 1);
    return skip(tar, padding_of(size), error);
}

/* --- extended headers ------------------------------------------------------------------------ */

static gboolean
read_long(VarveTar *tar, GByteArray *text, GError **error)
{
    if (!read_body(tar, text, error))
        return FALSE;
    return text->data[0] != '\0' ||
           varve_error_set(error, VARVE_ERROR_CORRUPT, "its long name is empty");
}

static gboolean
read_pax(VarveTar *tar, GError **error)
{
    tar->has_pax = TRUE;
    return read_body(tar, tar->pax_body, error) &&
           varve_tar_pax_parse(&tar->pax, (char *)tar->pax_body->data, tar->pax_body->len - 1,
                               error);
}

/* Takes a header that speaks of the next one; *taken is FALSE when it is none. */
static gboolean
take_extended(VarveTar *tar, gboolean *taken, GError **error)
{
    *taken = TRUE;
    switch (tar->header.type) {
    case 'x':
        return read_pax(tar, error);
    case 'L':
        return read_long(tar, tar->long_name, error);
    case 'K':
        return read_long(tar, tar->long_target, error);
    case 'g': /* for the whole archive: comments, in layers */
    case 'V': /* a label */
        return skip(tar, tar->header.size, error) && skip(tar, padding_of(tar->header.size), error);
    default:
        *taken = FALSE;
        return TRUE;
    }
}

/* --- the entry ------------------------------------------------------------------------------- */

static gboolean
set_type(VarveTar *tar, GError **error)
{
    static const VarveTarType types[] = {
        ['0' - '0'] = VARVE_TAR_FILE,         ['1' - '0'] = VARVE_TAR_LINK,
        ['2' - '0'] = VARVE_TAR_SYMLINK,      ['3' - '0'] = VARVE_TAR_CHAR,
        ['4' - '0'] = VARVE_TAR_BLOCK_DEVICE, ['5' - '0'] = VARVE_TAR_DIRECTORY,
        ['6' - '0'] = VARVE_TAR_FIFO,         ['7' - '0'] = VARVE_TAR_FILE, /* contiguous */
    };
    char type = tar->header.type;
    if (type >= '0' && type <= '7')
        tar->entry.type = types[type - '0'];
    else if (type == '\0') /* before there was a type for directories, a slash made one */
        tar->entry.type =
            g_str_has_suffix(tar->entry.name, "/") ? VARVE_TAR_DIRECTORY : VARVE_TAR_FILE;
    else if (type == 'S' && tar->header.gnu)
        tar->entry.type = VARVE_TAR_FILE;
    else
        return varve_error_set(error, VARVE_ERROR_CORRUPT, "it is of type 0x%02x, which is unknown",
                               (guint8)type);
    return TRUE;
}

/* A GNU long name counts before pax's. */
static void
set_names(VarveTar *tar)
{
    tar->entry.name = tar->header.name;
    tar->entry.target = tar->header.target;
    if (tar->has_pax && tar->pax.path != NULL)
        tar->entry.name = tar->pax.path;
    if (tar->has_pax && tar->pax.sparse && tar->pax.sparse_name != NULL)
        tar->entry.name = tar->pax.sparse_name;
    if (tar->has_pax && tar->pax.target != NULL)
        tar->entry.target = tar->pax.target;
    if (tar->long_name->len > 0)
        tar->entry.name = (char *)tar->long_name->data;
    if (tar->long_target->len > 0)
        tar->entry.target = (char *)tar->long_target->data;
}

static void
set_attributes(VarveTar *tar)
{
    const VarveTarHeader *header = &tar->header;
    const VarveTarPax *pax = &tar->pax;
    VarveTarEntry *entry = &tar->entry;
    entry->mode = header->mode;
    entry->major = header->major;
    entry->minor = header->minor;
    entry->uid = tar->has_pax && pax->has_uid ? pax->uid : header->uid;
    entry->gid = tar->has_pax && pax->has_gid ? pax->gid : header->gid;
    entry->mtime = (struct timespec){.tv_sec = header->mtime};
    if (tar->has_pax && pax->has_mtime)
        entry->mtime = pax->mtime;
    entry->atime = entry->mtime;
    if (header->has_atime)
        entry->atime = (struct timespec){.tv_sec = header->atime};
    if (tar->has_pax && pax->has_atime)
        entry->atime = pax->atime;
    entry->xattrs = tar->has_pax ? (VarveTarXattr *)(void *)pax->xattrs->data : NULL;
    entry->n_xattrs = tar->has_pax ? pax->xattrs->len : 0;
}

static gboolean
read_gnu_map(VarveTar *tar, const guint8 *block, GError **error)
{
    gboolean more;
    g_array_set_size(tar->pax.segments, 0);
    if (!varve_tar_sparse_header(block, tar->pax.segments, &tar->entry.size, &more, error))
        return FALSE;
    while (more) {
        block = take_block(tar, error);
        if (block == NULL || !varve_tar_sparse_extension(block, tar->pax.segments, &more, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
read_map_in_content(VarveTar *tar, GError **error)
{
    VarveTarSparseText text;
    varve_tar_sparse_text_begin(&text);
    for (gboolean more = TRUE; more; tar->stored -= VARVE_TAR_BLOCK) {
        if (tar->stored < VARVE_TAR_BLOCK)
            return varve_error_set(error, VARVE_ERROR_CORRUPT,
                                   "its map of a sparse file is longer than the file");
        const guint8 *block = take_block(tar, error);
        if (block == NULL || !varve_tar_sparse_text(&text, block, tar->pax.segments, &more, error))
            return FALSE;
    }
    return TRUE;
}

/* block: the header, while it still stands there. */
static gboolean
set_content(VarveTar *tar, const guint8 *block, GError **error)
{
    VarveTarEntry *entry = &tar->entry;
    gboolean is_file = entry->type == VARVE_TAR_FILE;
    guint64 size = tar->has_pax && tar->pax.has_size ? tar->pax.size : tar->header.size;
    /* Others have no content, whatever their size says. */
    tar->stored = entry->size = is_file ? size : 0;
    tar->padding = padding_of(tar->stored);
    tar->position = tar->segment_done = tar->segment = 0;
    entry->sparse = is_file && (tar->header.type == 'S' || (tar->has_pax && tar->pax.sparse));
    if (!entry->sparse)
        return TRUE;
    if (tar->header.type == 'S') {
        if (!read_gnu_map(tar, block, error))
            return FALSE;
    } else {
        entry->size = tar->pax.real_size;
        if (tar->pax.sparse_in_content && !read_map_in_content(tar, error))
            return FALSE;
    }
    return varve_tar_sparse_check(tar->pax.segments, entry->size, tar->stored, error);
}

/* --- the archive ----------------------------------------------------------------------------- */

static gboolean
skip_content(VarveTar *tar, GError **error)
{
    guint64 rest = tar->stored + tar->padding;
    tar->stored = tar->padding = 0;
    return skip(tar, rest, error);
}

/* The end is two blocks of zeros. Writers that leave out one or both are taken as they are, as
 * other readers do: that nothing is missing is for digests to tell. */
static gboolean
take_end(VarveTar *tar, GError **error)
{
    if (!need_bytes(tar, error))
        return FALSE;
    if (tar->left == 0)
        return TRUE;
    const guint8 *second = take_block(tar, error);
    if (second == NULL)
        return FALSE;
    return varve_tar_header_is_zero(second) ||
           varve_error_set(error, VARVE_ERROR_CORRUPT,
                           "a block of zeros is followed by something else");
}

/* Reads headers up to one of a file. *end: there is none. */
static gboolean
read_headers(VarveTar *tar, const guint8 **block, gboolean *end, GError **error)
{
    *end = FALSE;
    tar->has_pax = FALSE;
    g_byte_array_set_size(tar->long_name, 0);
    g_byte_array_set_size(tar->long_target, 0);
    if (!need_bytes(tar, error))
        return FALSE;
    if (tar->left == 0 && tar->at > 0) {
        *end = TRUE;
        return TRUE;
    }
    for (gboolean taken = TRUE; taken;) {
        *block = take_block(tar, error);
        if (*block == NULL)
            return FALSE;
        if (varve_tar_header_is_zero(*block)) {
            *end = TRUE;
            return take_end(tar, error);
        }
        if (!varve_tar_header_parse(*block, &tar->header, error) ||
            !take_extended(tar, &taken, error))
            return FALSE;
    }
    return TRUE;
}

static gboolean
next(VarveTar *tar, gboolean *end, GError **error)
{
    const guint8 *block;
    if (!read_headers(tar, &block, end, error))
        return FALSE;
    if (*end)
        return TRUE;
    set_names(tar);
    if (!set_type(tar, error) || !set_content(tar, block, error))
        return FALSE;
    set_attributes(tar);
    return TRUE;
}

VarveTar *
varve_tar_new(VarveTarInput input)
{
    VarveTar *tar = g_new0(VarveTar, 1);
    tar->input = input;
    tar->pax_body = g_byte_array_new();
    tar->long_name = g_byte_array_new();
    tar->long_target = g_byte_array_new();
    varve_tar_pax_reset(&tar->pax);
    return tar;
}

void
varve_tar_free(VarveTar *tar)
{
    if (tar == NULL)
        return;
    g_byte_array_unref(tar->pax_body);
    g_byte_array_unref(tar->long_name);
    g_byte_array_unref(tar->long_target);
    g_array_unref(tar->pax.xattrs);
    g_array_unref(tar->pax.segments);
    g_free(tar);
}

gboolean
varve_tar_next(VarveTar *tar, const VarveTarEntry **entry, GError **error)
{
    if (!skip_content(tar, error))
        return FALSE;
    guint64 at = tar->at;
    gboolean end;
    if (!next(tar, &end, error)) {
        g_prefix_error(error, "reading the tar header at byte %" G_GUINT64_FORMAT ": ", at);
        return FALSE;
    }
    *entry = end ? NULL : &tar->entry;
    return TRUE;
}

/* --- content --------------------------------------------------------------------------------- */

/* Goes to the segment that has the next byte; returns how much of it is left. */
static guint64
seek_segment(VarveTar *tar)
{
    for (; tar->segment < tar->pax.segments->len; tar->segment++, tar->segment_done = 0) {
        const VarveTarSegment *segment =
            &g_array_index(tar->pax.segments, VarveTarSegment, tar->segment);
        tar->position = segment->offset + tar->segment_done;
        if (tar->segment_done < segment->size)
            return segment->size - tar->segment_done;
    }
    return 0;
}

gboolean
varve_tar_read(VarveTar *tar, const guint8 **bytes, gsize *size, guint64 *offset, GError **error)
{
    guint64 want = tar->entry.sparse ? seek_segment(tar) : tar->stored;
    *size = 0;
    *offset = tar->position;
    if (want == 0)
        return TRUE;
    if (!must_have_bytes(tar, error))
        return FALSE;
    *size = (gsize)MIN(tar->left, want);
    *bytes = take(tar, *size);
    tar->stored -= *size;
    tar->position += *size;
    tar->segment_done += *size;
    return TRUE;
}

gboolean
varve_tar_drain(VarveTar *tar, GError **error)
{
    while (need_bytes(tar, error)) {
        if (tar->left == 0)
            return TRUE;
        take(tar, tar->left);
    }
    return FALSE;
}
