/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/entries.h"
#include <string.h>

/* What came and is gone again stays in all, so that the tables need not be told. */
struct VarveEntries {
    GPtrArray *all;
    GHashTable *now; /* of VarveEntry, by parent and name */
    GHashTable *old; /* by old_parent and old_name */
    GStringChunk *texts;
};

/* --- tables ---------------------------------------------------------------------------------- */

static guint
hash_place(const VarveEntry *parent, const char *name)
{
    return g_str_hash(name) ^ g_direct_hash(parent) * 31;
}

static guint
hash_now(gconstpointer key)
{
    const VarveEntry *entry = key;
    return hash_place(entry->parent, entry->name);
}

static guint
hash_old(gconstpointer key)
{
    const VarveEntry *entry = key;
    return hash_place(entry->old_parent, entry->old_name);
}

static gboolean
equal_now(gconstpointer a, gconstpointer b)
{
    const VarveEntry *x = a, *y = b;
    return x->parent == y->parent && g_str_equal(x->name, y->name);
}

static gboolean
equal_old(gconstpointer a, gconstpointer b)
{
    const VarveEntry *x = a, *y = b;
    return x->old_parent == y->old_parent && g_str_equal(x->old_name, y->old_name);
}

VarveEntry *
varve_entries_find(const VarveEntries *entries, const VarveEntry *dir, const char *name)
{
    VarveEntry key = {.parent = (VarveEntry *)dir, .name = name};
    return g_hash_table_lookup(entries->now, &key);
}

VarveEntry *
varve_entries_find_old(const VarveEntries *entries, const VarveEntry *dir, const char *name)
{
    VarveEntry key = {.old_parent = (VarveEntry *)dir, .old_name = name};
    return g_hash_table_lookup(entries->old, &key);
}

const GPtrArray *
varve_entries_all(const VarveEntries *entries)
{
    return entries->all;
}

VarveEntry *
varve_entries_root(const VarveEntries *entries)
{
    return entries->all->pdata[0];
}

/* --- entries --------------------------------------------------------------------------------- */

static VarveEntry *
new_entry(VarveEntries *entries)
{
    VarveEntry *entry = g_new0(VarveEntry, 1);
    g_ptr_array_add(entries->all, entry);
    return entry;
}

VarveEntries *
varve_entries_new(void)
{
    VarveEntries *entries = g_new0(VarveEntries, 1);
    entries->all = g_ptr_array_new_with_free_func(g_free);
    entries->now = g_hash_table_new(hash_now, equal_now);
    entries->old = g_hash_table_new(hash_old, equal_old);
    entries->texts = g_string_chunk_new(4096);
    VarveEntry *root = new_entry(entries);
    root->name = root->old_name = "";
    return entries;
}

void
varve_entries_free(VarveEntries *entries)
{
    if (entries == NULL)
        return;
    g_hash_table_unref(entries->now);
    g_hash_table_unref(entries->old);
    g_ptr_array_unref(entries->all);
    g_string_chunk_free(entries->texts);
    g_free(entries);
}

static void
attach(VarveEntries *entries, VarveEntry *entry, VarveEntry *dir, const char *text)
{
    entry->parent = dir;
    entry->name = text;
    dir->children++;
    dir->grown += (gint64)strlen(text);
    g_hash_table_add(entries->now, entry);
}

static VarveEntry *
add_old(VarveEntries *entries, VarveEntry *dir, const char *name)
{
    VarveEntry *entry = new_entry(entries);
    entry->old_parent = dir;
    entry->old_name = g_string_chunk_insert(entries->texts, name);
    dir->grown -= (gint64)strlen(name);
    g_hash_table_add(entries->old, entry);
    return entry;
}

VarveEntry *
varve_entries_old(VarveEntries *entries, VarveEntry *dir, const char *name)
{
    VarveEntry *entry = varve_entries_find_old(entries, dir, name);
    if (entry != NULL)
        return entry;
    entry = add_old(entries, dir, name);
    attach(entries, entry, dir, entry->old_name);
    return entry;
}

VarveEntry *
varve_entries_gone(VarveEntries *entries, VarveEntry *dir, const char *name)
{
    VarveEntry *entry = varve_entries_find_old(entries, dir, name);
    if (entry == NULL)
        return add_old(entries, dir, name);
    varve_entries_leave(entries, entry);
    return entry;
}

VarveEntry *
varve_entries_add(VarveEntries *entries, VarveEntry *dir, const char *name)
{
    VarveEntry *entry = new_entry(entries);
    attach(entries, entry, dir, g_string_chunk_insert(entries->texts, name));
    return entry;
}

void
varve_entries_leave(VarveEntries *entries, VarveEntry *entry)
{
    if (entry->name == NULL)
        return;
    g_hash_table_remove(entries->now, entry);
    entry->parent->children--;
    entry->parent->grown -= (gint64)strlen(entry->name);
    entry->parent = NULL;
    entry->name = NULL;
}

void
varve_entries_place(VarveEntries *entries, VarveEntry *entry, VarveEntry *dir, const char *name)
{
    varve_entries_leave(entries, entry);
    attach(entries, entry, dir, g_string_chunk_insert(entries->texts, name));
}

/* --- paths ----------------------------------------------------------------------------------- */

static const VarveEntry *
parent_of(const VarveEntry *entry, gboolean old)
{
    return old ? entry->old_parent : entry->parent;
}

static const char *
text_of(const VarveEntry *entry, gboolean old)
{
    return old ? entry->old_name : entry->name;
}

/* Written from its end. */
static char *
make_path(const VarveEntry *entry, gboolean old)
{
    gsize length = 0;
    if (parent_of(entry, old) == NULL)
        return g_strdup("/");
    for (const VarveEntry *at = entry; parent_of(at, old) != NULL; at = parent_of(at, old))
        length += 1 + strlen(text_of(at, old));
    char *path = g_malloc(length + 1), *end = path + length;
    *end = '\0';
    for (const VarveEntry *at = entry; parent_of(at, old) != NULL; at = parent_of(at, old)) {
        gsize part = strlen(text_of(at, old));
        end -= part;
        memcpy(end, text_of(at, old), part);
        *--end = '/';
    }
    return path;
}

char *
varve_entry_path(const VarveEntry *entry)
{
    return make_path(entry, FALSE);
}

char *
varve_entry_old_path(const VarveEntry *entry)
{
    return make_path(entry, TRUE);
}
