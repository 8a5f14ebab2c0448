/* SPDX-License-Identifier: Apache-2.0 */
#include "driver/btrfs/namespace.h"
#include <limits.h>
#include <linux/limits.h>
#include <string.h>

/* What was made and is gone again stays among the entries. Memory is thus by the length of the
 * stream, which is by what changed. */

/* --- paths ----------------------------------------------------------------------------------- */

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
static VarveEntry *
enter(VarveEntries *names, VarveEntry *dir, const char *text)
{
    VarveEntry *name = varve_entries_find(names, dir, text);
    if (name != NULL)
        return name;
    if ((dir->flags & VARVE_ENTRY_FILE) != 0 || dir->old_name == NULL ||
        varve_entries_find_old(names, dir, text) != NULL)
        return NULL;
    return varve_entries_old(names, dir, text);
}

/* The directory that holds a path, and the path's last component. */
static VarveEntry *
resolve_parent(VarveEntries *names, const char *path, char last[NAME_MAX + 1], GError **error)
{
    VarveEntry *dir = varve_entries_root(names);
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
        dir = enter(names, dir, last);
    }
    if (dir == NULL || (dir->flags & VARVE_ENTRY_FILE) != 0) {
        corrupt(error, "speaks of a directory that is not there", path);
        return NULL;
    }
    return dir;
}

VarveEntry *
varve_namespace_resolve(VarveEntries *names, const char *path, GError **error)
{
    char last[NAME_MAX + 1];
    if (*path == '\0')
        return varve_entries_root(names);
    VarveEntry *dir = resolve_parent(names, path, last, error);
    if (dir == NULL)
        return NULL;
    VarveEntry *name = enter(names, dir, last);
    if (name == NULL)
        corrupt(error, "speaks of something that is not there", path);
    return name;
}

/* --- commands -------------------------------------------------------------------------------- */

typedef gboolean (*Apply)(VarveEntries *names, const VarveSendCommand *command, GError **error);

static gboolean
apply_nothing(VarveEntries *names, const VarveSendCommand *command, GError **error)
{
    return TRUE;
}

static gboolean
touch(VarveEntries *names, const VarveSendCommand *command, guint flags, GError **error)
{
    VarveEntry *name = varve_namespace_resolve(names, command->path, error);
    if (name == NULL)
        return FALSE;
    name->flags |= flags;
    return TRUE;
}

static gboolean
apply_attribute(VarveEntries *names, const VarveSendCommand *command, GError **error)
{
    return touch(names, command, VARVE_ENTRY_ATTRIBUTES, error);
}

static gboolean
apply_content(VarveEntries *names, const VarveSendCommand *command, GError **error)
{
    return touch(names, command, VARVE_ENTRY_TOUCHED, error);
}

static VarveEntry *
make(VarveEntries *names, const char *path, guint flags, GError **error)
{
    char last[NAME_MAX + 1];
    VarveEntry *dir = resolve_parent(names, path, last, error);
    if (dir == NULL)
        return NULL;
    if (varve_entries_find(names, dir, last) != NULL) {
        corrupt(error, "makes something that is there already", path);
        return NULL;
    }
    VarveEntry *name = varve_entries_add(names, dir, last);
    name->flags = flags;
    return name;
}

static gboolean
apply_make_file(VarveEntries *names, const VarveSendCommand *command, GError **error)
{
    return make(names, command->path, VARVE_NAME_MADE | VARVE_ENTRY_FILE, error) != NULL;
}

static gboolean
apply_make_dir(VarveEntries *names, const VarveSendCommand *command, GError **error)
{
    return make(names, command->path, VARVE_NAME_MADE, error) != NULL;
}

static gboolean
apply_link(VarveEntries *names, const VarveSendCommand *command, GError **error)
{
    VarveEntry *target = varve_namespace_resolve(names, command->path_link, error);
    if (target == NULL)
        return FALSE;
    if (target->parent == NULL || target->children > 0)
        return corrupt(error, "gives a directory another name", command->path_link);
    target->flags |= VARVE_ENTRY_FILE;
    guint flags = (target->flags & VARVE_NAME_MADE) | VARVE_NAME_LINKED | VARVE_ENTRY_FILE |
                  VARVE_ENTRY_ATTRIBUTES;
    return make(names, command->path, flags, error) != NULL;
}

static gboolean
apply_remove(VarveEntries *names, const VarveSendCommand *command, GError **error)
{
    VarveEntry *name = varve_namespace_resolve(names, command->path, error);
    if (name == NULL)
        return FALSE;
    if (name->parent == NULL || name->children > 0)
        return corrupt(error, "removes a directory that is not empty", command->path);
    if (command->kind == VARVE_SEND_UNLINK)
        name->flags |= VARVE_ENTRY_FILE;
    varve_entries_leave(names, name);
    return TRUE;
}

static gboolean
is_inside(const VarveEntry *name, const VarveEntry *dir)
{
    while (name != NULL && name != dir)
        name = name->parent;
    return name != NULL;
}

/* As rename(2): what has the new name is replaced. (The kernel's streams move it away before.) */
static gboolean
apply_rename(VarveEntries *names, const VarveSendCommand *command, GError **error)
{
    char last[NAME_MAX + 1];
    VarveEntry *name = varve_namespace_resolve(names, command->path, error);
    VarveEntry *dir = name == NULL ? NULL : resolve_parent(names, command->path_to, last, error);
    if (dir == NULL)
        return FALSE;
    if (name->parent == NULL || is_inside(dir, name))
        return corrupt(error, "moves a directory into itself", command->path_to);
    VarveEntry *there = varve_entries_find(names, dir, last);
    name->flags |= VARVE_ENTRY_ATTRIBUTES;
    if (there == name)
        return TRUE;
    if (there != NULL && there->children > 0)
        return corrupt(error, "replaces a directory that is not empty", command->path_to);
    if (there != NULL)
        varve_entries_leave(names, there);
    varve_entries_place(names, name, dir, last);
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
varve_namespace_apply(VarveEntries *names, const VarveSendCommand *command, GError **error)
{
    return applies[command->kind](names, command, error);
}
