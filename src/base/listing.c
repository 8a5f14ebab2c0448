/* SPDX-License-Identifier: Apache-2.0 */
#include "base/listing.h"
#include <dirent.h>
#include <stdalign.h>
#include <string.h>
#include <unistd.h>

struct VarveListing {
    GByteArray *text; /* of each entry a Head and the name with its NUL */
    GArray *entries;  /* of gsize: where in text the name is, in the order of the names */
};

typedef struct {
    guint64 inode;
    unsigned char type;
} Head;

static const char *
name_at(const VarveListing *listing, gsize i)
{
    return (const char *)listing->text->data + g_array_index(listing->entries, gsize, i);
}

static int
order_of(gconstpointer a, gconstpointer b, gpointer data)
{
    const VarveListing *listing = data;
    const char *text = (const char *)listing->text->data;
    return strcmp(text + *(const gsize *)a, text + *(const gsize *)b);
}

static gboolean
is_dot(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

static void
add(VarveListing *listing, const struct dirent64 *entry)
{
    if (is_dot(entry->d_name))
        return;
    const Head head = {entry->d_ino, entry->d_type};
    gsize offset = listing->text->len + sizeof head;
    g_byte_array_append(listing->text, (const guint8 *)&head, sizeof head);
    g_byte_array_append(listing->text, (const guint8 *)entry->d_name,
                        (guint)strlen(entry->d_name) + 1);
    g_array_append_val(listing->entries, offset);
}

VarveListing *
varve_listing_read(int fd)
{
    alignas(struct dirent64) char buffer[32768];
    g_autoptr(VarveListing) listing = g_new0(VarveListing, 1);
    listing->text = g_byte_array_new();
    listing->entries = g_array_new(FALSE, FALSE, sizeof(gsize));

    ssize_t length = lseek(fd, 0, SEEK_SET) < 0 ? -1 : 0;
    while (length == 0 && (length = getdents64(fd, buffer, sizeof buffer)) > 0) {
        for (const char *at = buffer; at < buffer + length;) {
            const struct dirent64 *entry = (const void *)at;
            at += entry->d_reclen;
            add(listing, entry);
        }
        length = 0;
    }
    if (length < 0 && errno != ENOENT)
        return NULL;
    g_array_sort_with_data(listing->entries, order_of, listing);
    return g_steal_pointer(&listing);
}

void
varve_listing_free(VarveListing *listing)
{
    if (listing == NULL)
        return;
    g_byte_array_unref(listing->text);
    g_array_unref(listing->entries);
    g_free(listing);
}

gsize
varve_listing_length(const VarveListing *listing)
{
    return listing->entries->len;
}

VarveListingEntry
varve_listing_get(const VarveListing *listing, gsize i)
{
    const char *name = name_at(listing, i);
    Head head;
    memcpy(&head, name - sizeof head, sizeof head);
    return (VarveListingEntry){name, head.type, head.inode};
}
