/* SPDX-License-Identifier: Apache-2.0 */
#include "tar-build.h"
#include <string.h>

#define BLOCK 512

void
tar_record(GString *pax, const char *key, const void *value, gssize size)
{
    gsize length = size < 0 ? strlen(value) : (gsize)size, rest = strlen(key) + length + 3;
    gsize total = rest + 1;
    for (gsize next = 0; next != total;) { /* the length counts its own digits */
        next = total;
        g_autofree char *digits = g_strdup_printf("%zu", total);
        total = rest + strlen(digits);
    }
    g_string_append_printf(pax, "%zu %s=", total, key);
    g_string_append_len(pax, value, (gssize)length);
    g_string_append_c(pax, '\n');
}

GString *
tar_pax(const char *key, const char *value)
{
    GString *pax = g_string_new(NULL);
    tar_record(pax, key, value, -1);
    return pax;
}

static void
octal(guint8 *field, int digits, guint64 value)
{
    g_autofree char *text = g_strdup_printf("%0*" G_GINT64_MODIFIER "o", digits, value);
    memcpy(field, text, strlen(text));
}

static void
add_header(GByteArray *tar, const TarFile *file, gsize size)
{
    guint8 block[BLOCK] = {0};
    gboolean directory = file->type == '5';
    memcpy(block, file->name, MIN(strlen(file->name), 100));
    octal(block + 100, 7, file->mode != 0 ? file->mode : directory ? 0755 : 0644);
    octal(block + 108, 7, file->uid);
    octal(block + 116, 7, file->gid);
    octal(block + 124, 11, size);
    octal(block + 136, 11, (guint64)file->mtime);
    if (file->raw_uid != NULL)
        memcpy(block + 108, file->raw_uid, 8);
    if (file->size != NULL)
        memcpy(block + 124, file->size, strlen(file->size) + 1);
    block[156] = (guint8)(file->type != 0 ? file->type : '0');
    if (file->target != NULL)
        memcpy(block + 157, file->target, MIN(strlen(file->target), 100));
    memcpy(block + 257, file->gnu ? "ustar  " : "ustar\00000", 8);
    octal(block + 329, 7, file->major);
    octal(block + 337, 7, file->minor);
    memset(block + 148, ' ', 8);
    guint sum = 0;
    for (gsize i = 0; i < BLOCK; i++)
        sum += block[i];
    octal(block + 148, 6, sum);
    block[154] = '\0';
    g_byte_array_append(tar, block, BLOCK);
}

static void
add_content(GByteArray *tar, const char *content, gsize size)
{
    static const guint8 zeros[BLOCK];
    g_byte_array_append(tar, (const guint8 *)content, (guint)size);
    g_byte_array_append(tar, zeros, (BLOCK - size % BLOCK) % BLOCK);
}

void
tar_add(GByteArray *tar, TarFile file)
{
    if (file.pax != NULL) {
        TarFile header = {.name = "pax", .type = 'x'};
        add_header(tar, &header, file.pax->len);
        add_content(tar, file.pax->str, file.pax->len);
        g_string_free(file.pax, TRUE);
    }
    gsize size = file.content != NULL ? strlen(file.content) : 0;
    add_header(tar, &file, size);
    if (size > 0)
        add_content(tar, file.content, size);
}

void
tar_end(GByteArray *tar)
{
    static const guint8 zeros[2 * BLOCK];
    g_byte_array_append(tar, zeros, sizeof zeros);
}
