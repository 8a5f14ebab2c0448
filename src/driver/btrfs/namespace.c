/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/namespace.h"
#include <limits.h>
#include <linux/limits.h>
#include <string.h>

/* What was made and is gone again stays in names, so that the tables need not be told. Memory is
 * thus by the length of the stream, which is by what changed. */
struct VarveNamespace {
    GPtrArray *names;
    GHashTable *now; /* of VarveName, by parent and name */
    GHashTable *old; /* by old_parent and old_name */
    GStringChunk *texts;
};

/* --- tables ---------------------------------------------------------------------------------- */

static guint
hash_now(gconstpointer key)
{
    const VarveName *name = key;
    return g_str_hash(name->name) ^ g_direct_hash(name->parent) * 31;
}

static gboolean
equal_now(gconstpointer a, gconstpointer b)
{
    const VarveName *x = a, *y = b;
    return x->parent == y->parent && g_str_equal(x->name, y->name);
}

static guint
hash_old(gconstpointer key)
{
    const VarveName *name = key;
    return g_str_hash(name->old_name) ^ g_direct_hash(name->old_parent) * 31;
}

static gboolean
equal_old(gconstpointer a, gconstpointer b)
{
    const VarveName *x = a, *y = b;
    return x->old_parent == y->old_parent && g_str_equal(x->old_name, y->old_name);
}

VarveName *
varve_namespace_find(VarveNamespace *space, const VarveName *dir, const char *name)
{
    VarveName key = {.parent = (VarveName *)dir, .name = name};
    return g_hash_table_lookup(space->now, &key);
}

VarveName *
varve_namespace_find_old(VarveNamespace *space, const VarveName *dir, const char *name)
{
    VarveName key = {.old_parent = (VarveName *)dir, .old_name = name};
    return g_hash_table_lookup(space->old, &key);
}

gboolean
varve_name_is_there(const VarveName *name)
{
    return name->name != NULL;
}

gboolean
varve_name_was_there(const VarveName *name)
{
    return name->old_name != NULL;
}

const GPtrArray *
varve_namespace_names(VarveNamespace *space)
{
    return space->names;
}

/* --- names ----------------------------------------------------------------------------------- */

static VarveName *
new_name(VarveNamespace *space)
{
    VarveName *name = g_new0(VarveName, 1);
    g_ptr_array_add(space->names, name);
    return name;
}

static void
attach(VarveNamespace *space, VarveName *name, VarveName *dir, const char *text)
{
    name->parent = dir;
    name->name = text;
    dir->children++;
    dir->length += strlen(text);
    g_hash_table_add(space->now, name);
}

static void
detach(VarveNamespace *space, VarveName *name)
{
    g_hash_table_remove(space->now, name);
    name->parent->children--;
    name->parent->length -= strlen(name->name);
    name->parent = NULL;
    name->name = NULL;
}

static void
attach_old(VarveNamespace *space, VarveName *name, VarveName *dir, const char *text)
{
    name->old_parent = dir;
    name->old_name = text;
    dir->old_length += strlen(text);
    g_hash_table_add(space->old, name);
}

VarveNamespace *
varve_namespace_new(void)
{
    VarveNamespace *space = g_new0(VarveNamespace, 1);
    space->names = g_ptr_array_new_with_free_func(g_free);
    space->now = g_hash_table_new(hash_now, equal_now);
    space->old = g_hash_table_new(hash_old, equal_old);
    space->texts = g_string_chunk_new(4096);
    VarveName *root = new_name(space);
    root->name = root->old_name = "";
    return space;
}

void
varve_namespace_free(VarveNamespace *space)
{
    if (space == NULL)
        return;
    g_hash_table_unref(space->now);
    g_hash_table_unref(space->old);
    g_ptr_array_unref(space->names);
    g_string_chunk_free(space->texts);
    g_free(space);
}

VarveName *
varve_namespace_add(VarveNamespace *space, VarveName *dir, const char *text)
{
    VarveName *name = new_name(space);
    attach(space, name, dir, g_string_chunk_insert(space->texts, text));
    return name;
}

VarveName *
varve_namespace_add_old(VarveNamespace *space, VarveName *dir, const char *text)
{
    VarveName *name = new_name(space);
    attach_old(space, name, dir, g_string_chunk_insert(space->texts, text));
    return name;
}

void
varve_namespace_join(VarveNamespace *space, VarveName *from, VarveName *to)
{
    g_hash_table_remove(space->old, from);
    from->old_parent->old_length -= strlen(from->old_name);
    attach_old(space, to, from->old_parent, from->old_name);
    to->flags |= from->flags;
    from->old_parent = NULL;
    from->old_name = NULL;
}

/* --- paths ----------------------------------------------------------------------------------- */

static VarveName *
parent_of(const VarveName *name, gboolean old)
{
    return old ? name->old_parent : name->parent;
}

static const char *
text_of(const VarveName *name, gboolean old)
{
    return old ? name->old_name : name->name;
}

/* Written from its end. */
static char *
make_path(const VarveName *name, gboolean old)
{
    gsize length = 0;
    if (parent_of(name, old) == NULL)
        return g_strdup("/");
    for (const VarveName *at = name; parent_of(at, old) != NULL; at = parent_of(at, old))
        length += 1 + strlen(text_of(at, old));
    char *path = g_malloc(length + 1), *end = path + length;
    *end = '\0';
    for (const VarveName *at = name; parent_of(at, old) != NULL; at = parent_of(at, old)) {
        gsize part = strlen(text_of(at, old));
        end -= part;
        memcpy(end, text_of(at, old), part);
        *--end = '/';
    }
    return path;
}

char *
varve_name_path(const VarveName *name)
{
    return make_path(name, FALSE);
}

char *
varve_name_old_path(const VarveName *name)
{
    return make_path(name, TRUE);
}

static gboolean
corrupt(GError **error, const char *what, const char *path)
{
    g_autofree char *shown = g_strescape(path, NULL);
    return varve_error_set(error, VARVE_ERROR_CORRUPT, "the send stream %s: '%.200s'", what, shown);
}

/* A path's next component, copied to name; *path is set to what follows it. */
static gboolean
next_component(const char **path, char name[NAME_MAX + 1])
{
    gsize length = strcspn(*path, "/");
    if (length == 0 || length > NAME_MAX)
        return FALSE;
    memcpy(name, *path, length);
    name[length] = '\0';
    *path += length;
    if (**path == '/' && *++*path == '\0')
        return FALSE;
    return !g_str_equal(name, ".") && !g_str_equal(name, "..");
}

/* What is in a directory, and was not mentioned yet, is where it was in the old subvolume, if that
 * has the directory, and the name is not known to have gone from there. */
static VarveName *
enter(VarveNamespace *space, VarveName *dir, const char *text)
{
    VarveName *name = varve_namespace_find(space, dir, text);
    if (name != NULL)
        return name;
    if ((dir->flags & VARVE_NAME_FILE) != 0 || !varve_name_was_there(dir) ||
        varve_namespace_find_old(space, dir, text) != NULL)
        return NULL;
    name = varve_namespace_add(space, dir, text);
    attach_old(space, name, dir, name->name);
    return name;
}

/* The directory that holds a path, and the path's last component. */
static VarveName *
resolve_parent(VarveNamespace *space, const char *path, char last[NAME_MAX + 1], GError **error)
{
    VarveName *dir = varve_namespace_names(space)->pdata[0];
    const char *rest = path;
    if (strlen(path) >= PATH_MAX) {
        corrupt(error, "has a path that is too long", path);
        return NULL;
    }
    for (;;) {
        if (!next_component(&rest, last)) {
            corrupt(error, "has a malformed path", path);
            return NULL;
        }
        if (*rest == '\0' || dir == NULL)
            break;
        dir = enter(space, dir, last);
    }
    if (dir == NULL || (dir->flags & VARVE_NAME_FILE) != 0) {
        corrupt(error, "speaks of a directory that is not there", path);
        return NULL;
    }
    return dir;
}

VarveName *
varve_namespace_resolve(VarveNamespace *space, const char *path, GError **error)
{
    char last[NAME_MAX + 1];
    if (*path == '\0')
        return space->names->pdata[0];
    VarveName *dir = resolve_parent(space, path, last, error);
    if (dir == NULL)
        return NULL;
    VarveName *name = enter(space, dir, last);
    if (name == NULL)
        corrupt(error, "speaks of something that is not there", path);
    return name;
}

/* --- commands -------------------------------------------------------------------------------- */

typedef gboolean (*Apply)(VarveNamespace *space, const VarveSendCommand *command, GError **error);

static gboolean
apply_nothing(VarveNamespace *space, const VarveSendCommand *command, GError **error)
{
    return TRUE;
}

static gboolean
touch(VarveNamespace *space, const VarveSendCommand *command, guint flags, GError **error)
{
    VarveName *name = varve_namespace_resolve(space, command->path, error);
    if (name == NULL)
        return FALSE;
    name->flags |= flags;
    return TRUE;
}

static gboolean
apply_attribute(VarveNamespace *space, const VarveSendCommand *command, GError **error)
{
    return touch(space, command, VARVE_NAME_TOUCHED, error);
}

static gboolean
apply_content(VarveNamespace *space, const VarveSendCommand *command, GError **error)
{
    return touch(space, command, VARVE_NAME_TOUCHED | VARVE_NAME_CONTENT, error);
}

static VarveName *
make(VarveNamespace *space, const char *path, guint flags, GError **error)
{
    char last[NAME_MAX + 1];
    VarveName *dir = resolve_parent(space, path, last, error);
    if (dir == NULL)
        return NULL;
    if (varve_namespace_find(space, dir, last) != NULL) {
        corrupt(error, "makes something that is there already", path);
        return NULL;
    }
    VarveName *name = varve_namespace_add(space, dir, last);
    name->flags = flags;
    return name;
}

static gboolean
apply_make_file(VarveNamespace *space, const VarveSendCommand *command, GError **error)
{
    return make(space, command->path, VARVE_NAME_MADE | VARVE_NAME_FILE, error) != NULL;
}

static gboolean
apply_make_dir(VarveNamespace *space, const VarveSendCommand *command, GError **error)
{
    return make(space, command->path, VARVE_NAME_MADE, error) != NULL;
}

static gboolean
apply_link(VarveNamespace *space, const VarveSendCommand *command, GError **error)
{
    VarveName *target = varve_namespace_resolve(space, command->path_link, error);
    if (target == NULL)
        return FALSE;
    if (target->parent == NULL || target->children > 0)
        return corrupt(error, "gives a directory another name", command->path_link);
    target->flags |= VARVE_NAME_FILE;
    guint flags = (target->flags & VARVE_NAME_MADE) | VARVE_NAME_FILE | VARVE_NAME_LINKED;
    return make(space, command->path, flags, error) != NULL;
}

static gboolean
apply_remove(VarveNamespace *space, const VarveSendCommand *command, GError **error)
{
    VarveName *name = varve_namespace_resolve(space, command->path, error);
    if (name == NULL)
        return FALSE;
    if (name->parent == NULL || name->children > 0)
        return corrupt(error, "removes a directory that is not empty", command->path);
    detach(space, name);
    return TRUE;
}

static gboolean
is_inside(const VarveName *name, const VarveName *dir)
{
    while (name != NULL && name != dir)
        name = name->parent;
    return name != NULL;
}

/* As rename(2): what has the new name is replaced. (The kernel's streams move it away before.) */
static gboolean
apply_rename(VarveNamespace *space, const VarveSendCommand *command, GError **error)
{
    char last[NAME_MAX + 1];
    VarveName *name = varve_namespace_resolve(space, command->path, error);
    VarveName *dir = name == NULL ? NULL : resolve_parent(space, command->path_to, last, error);
    if (dir == NULL)
        return FALSE;
    if (name->parent == NULL || is_inside(dir, name))
        return corrupt(error, "moves a directory into itself", command->path_to);
    VarveName *there = varve_namespace_find(space, dir, last);
    if (there == name)
        return TRUE;
    if (there != NULL && there->children > 0)
        return corrupt(error, "replaces a directory that is not empty", command->path_to);
    if (there != NULL)
        detach(space, there);
    detach(space, name);
    attach(space, name, dir, g_string_chunk_insert(space->texts, last));
    return TRUE;
}

static const Apply applies[] = {
    [VARVE_SEND_SUBVOL] = apply_nothing,        [VARVE_SEND_SNAPSHOT] = apply_nothing,
    [VARVE_SEND_MKFILE] = apply_make_file,      [VARVE_SEND_MKDIR] = apply_make_dir,
    [VARVE_SEND_MKNOD] = apply_make_file,       [VARVE_SEND_MKFIFO] = apply_make_file,
    [VARVE_SEND_MKSOCK] = apply_make_file,      [VARVE_SEND_SYMLINK] = apply_make_file,
    [VARVE_SEND_RENAME] = apply_rename,         [VARVE_SEND_LINK] = apply_link,
    [VARVE_SEND_UNLINK] = apply_remove,         [VARVE_SEND_RMDIR] = apply_remove,
    [VARVE_SEND_SET_XATTR] = apply_attribute,   [VARVE_SEND_REMOVE_XATTR] = apply_attribute,
    [VARVE_SEND_WRITE] = apply_content,         [VARVE_SEND_CLONE] = apply_content,
    [VARVE_SEND_TRUNCATE] = apply_attribute, /* a size that differs can be seen */
    [VARVE_SEND_CHMOD] = apply_attribute,       [VARVE_SEND_CHOWN] = apply_attribute,
    [VARVE_SEND_UTIMES] = apply_attribute,      [VARVE_SEND_END] = apply_nothing,
    [VARVE_SEND_UPDATE_EXTENT] = apply_content, [VARVE_SEND_FALLOCATE] = apply_content,
    [VARVE_SEND_FILEATTR] = apply_attribute,    [VARVE_SEND_ENCODED_WRITE] = apply_content,
};

gboolean
varve_namespace_apply(VarveNamespace *space, const VarveSendCommand *command, GError **error)
{
    return applies[command->kind](space, command, error);
}
