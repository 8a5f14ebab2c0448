/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/directories.h"
#include "base/fd.h"
#include <linux/limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MAX_KNOWN 512
#define MAX_OPEN  64
#define MAX_LINKS 40 /* as the kernel */

#define OPAQUE "trusted.overlay.opaque"

struct VarveDirectories {
    const VarveLayerTarget *target;
    VarveDirectory *root;
    guint known;
    GQueue open;   /* those with descriptors, the root's apart; the last used first */
    GQueue leaves; /* those without children */
    char *last_path;
    VarveDirectory *last;
};

/* --- descriptors ----------------------------------------------------------------------------- */

static void
close_directory(VarveDirectories *all, VarveDirectory *directory)
{
    if (directory->fd < 0)
        return;
    varve_fd_clear(&directory->fd);
    g_queue_unlink(&all->open, &directory->open_link);
}

static void
keep_open(VarveDirectories *all, VarveDirectory *directory, int fd)
{
    directory->fd = fd;
    g_queue_push_head_link(&all->open, &directory->open_link);
    if (all->open.length > MAX_OPEN)
        close_directory(all, g_queue_peek_tail(&all->open));
}

/* Writes the path of a directory from one of its ancestors on so that it ends at end; returns its
 * beginning. */
static char *
write_path(const VarveDirectory *directory, const VarveDirectory *from, char *end)
{
    *end = '\0';
    for (; directory != from && directory->parent != NULL; directory = directory->parent) {
        gsize length = strlen(directory->name);
        if (*end != '\0')
            *--end = '/';
        end -= length;
        memcpy(end, directory->name, length);
    }
    return end;
}

char *
varve_directory_path(const VarveDirectory *directory)
{
    char path[PATH_MAX];
    return g_strdup(write_path(directory, NULL, path + sizeof path - 1));
}

int
varve_directory_fd(VarveDirectories *all, VarveDirectory *directory, GError **error)
{
    if (directory->fd >= 0) {
        if (directory->parent != NULL && all->open.head != &directory->open_link) {
            g_queue_unlink(&all->open, &directory->open_link);
            g_queue_push_head_link(&all->open, &directory->open_link);
        }
        return directory->fd;
    }
    VarveDirectory *from = directory->parent;
    while (from->fd < 0)
        from = from->parent;
    char path[PATH_MAX];
    const char *rest = write_path(directory, from, path + sizeof path - 1);
    int fd = varve_fd_open_beneath(from->fd, rest, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        varve_error_set_errno(error, errno, "opening directory '%s' again", rest);
    else
        keep_open(all, directory, fd);
    return fd;
}

/* --- known ones ------------------------------------------------------------------------------ */

static void
add_leaf(VarveDirectories *all, VarveDirectory *directory)
{
    if (directory->parent != NULL)
        g_queue_push_head_link(&all->leaves, &directory->leaf_link);
}

/* Of what is made in it, also where groups are inherited without setgid ("grpid"). */
static void
set_group(VarveDirectory *directory, gid_t gid, mode_t mode)
{
    directory->gid = gid;
    directory->plain_group = gid == getegid() && (mode & S_ISGID) == 0;
}

VarveDirectory *
varve_directory_add(VarveDirectories *all, VarveDirectory *parent, const char *name)
{
    VarveDirectory *directory = g_new0(VarveDirectory, 1);
    directory->parent = parent;
    directory->name = g_strdup(name);
    directory->path_length = parent->path_length + strlen(name) + 1;
    directory->fd = -1;
    directory->open_link.data = directory->leaf_link.data = directory;
    set_group(directory, getegid(), 0);
    if (parent->children == NULL) {
        parent->children = g_hash_table_new(g_str_hash, g_str_equal);
        if (parent->parent != NULL)
            g_queue_unlink(&all->leaves, &parent->leaf_link);
    }
    g_hash_table_insert(parent->children, directory->name, directory);
    add_leaf(all, directory);
    all->known++;
    return directory;
}

/* A directory without children. */
static void
forget(VarveDirectories *all, VarveDirectory *directory)
{
    VarveDirectory *parent = directory->parent;
    if (all->last == directory)
        all->last = NULL;
    close_directory(all, directory);
    g_queue_unlink(&all->leaves, &directory->leaf_link);
    g_hash_table_remove(parent->children, directory->name);
    if (g_hash_table_size(parent->children) == 0) {
        g_clear_pointer(&parent->children, g_hash_table_destroy);
        add_leaf(all, parent);
    }
    if (directory->acl != NULL)
        g_bytes_unref(directory->acl);
    g_free(directory->name);
    g_free(directory);
    all->known--;
}

static VarveDirectory *
any_child(VarveDirectory *directory)
{
    GHashTableIter iter;
    gpointer child;
    g_hash_table_iter_init(&iter, directory->children);
    return g_hash_table_iter_next(&iter, NULL, &child) ? child : NULL;
}

void
varve_directory_drop(VarveDirectories *all, VarveDirectory *parent, const char *name)
{
    all->last = NULL; /* it may have been found by a symbolic link that is no more */
    VarveDirectory *top =
        parent->children == NULL ? NULL : g_hash_table_lookup(parent->children, name);
    for (VarveDirectory *at = top, *up; at != NULL; at = up) {
        if (at->children != NULL) {
            up = any_child(at);
            continue;
        }
        up = at == top ? NULL : at->parent;
        forget(all, at);
    }
}

/* --- attributes ------------------------------------------------------------------------------ */

static gboolean
set_last_attributes(VarveDirectories *all, VarveDirectory *directory, GError **error)
{
    if (directory->set_mode || directory->acl != NULL || directory->parent == NULL ||
        directory->fd >= 0) {
        int fd = varve_directory_fd(all, directory, error);
        if (fd < 0)
            return FALSE;
        if (directory->set_mode && fchmod(fd, directory->mode) < 0)
            return varve_error_set_errno(error, errno, "setting its mode");
        gsize size = 0;
        const void *acl = directory->acl ? g_bytes_get_data(directory->acl, &size) : NULL;
        if (acl != NULL && fsetxattr(fd, "system.posix_acl_default", acl, size, 0) < 0 &&
            errno != EOPNOTSUPP)
            return varve_error_set_errno(error, errno, "setting its default ACL");
        return futimens(fd, directory->times) == 0 ||
               varve_error_set_errno(error, errno, "setting its times");
    }
    int parentfd = varve_directory_fd(all, directory->parent, error);
    if (parentfd < 0)
        return FALSE;
    return utimensat(parentfd, directory->name, directory->times, AT_SYMLINK_NOFOLLOW) == 0 ||
           varve_error_set_errno(error, errno, "setting its times");
}

static gboolean
finish(VarveDirectories *all, VarveDirectory *directory, GError **error)
{
    if (!directory->dirty || set_last_attributes(all, directory, error))
        return TRUE;
    g_autofree char *path = varve_directory_path(directory);
    g_prefix_error(error, "finishing directory '%s': ", path);
    return FALSE;
}

static gboolean
shrink(VarveDirectories *all, guint known, GError **error)
{
    while (all->known > known) {
        VarveDirectory *directory = g_queue_peek_tail(&all->leaves);
        if (!finish(all, directory, error))
            return FALSE;
        forget(all, directory);
    }
    return TRUE;
}

gboolean
varve_directories_trim(VarveDirectories *all, GError **error)
{
    return all->known <= MAX_KNOWN || shrink(all, MAX_KNOWN, error);
}

gboolean
varve_directories_finish(VarveDirectories *all, GError **error)
{
    return shrink(all, 0, error) && finish(all, all->root, error);
}

/* --- directories that are there -------------------------------------------------------------- */

/* Learns of an open directory what it has. */
static gboolean
look_at(VarveDirectories *all, VarveDirectory *directory, GError **error)
{
    struct stat st;
    if (fstat(directory->fd, &st) < 0)
        return varve_error_set_errno(error, errno, "looking at a directory");
    set_group(directory, st.st_gid, st.st_mode);
    directory->mode = st.st_mode & 07777;
    directory->times[0] = st.st_atim;
    directory->times[1] = st.st_mtim;
    directory->default_acl = fgetxattr(directory->fd, "system.posix_acl_default", NULL, 0) > 0;
    char value;
    directory->opaque = all->target->whiteouts == VARVE_WHITEOUTS_OVERLAY &&
                        fgetxattr(directory->fd, OPAQUE, &value, 1) == 1 && value == 'y';
    return TRUE;
}

gboolean
varve_directory_make_opaque(VarveDirectory *directory, int fd, GError **error)
{
    directory->opaque = TRUE;
    return fsetxattr(fd, OPAQUE, "y", 1, 0) == 0 ||
           varve_error_set_errno(error, errno, "making directory '%s' opaque", directory->name);
}

gboolean
varve_directory_open(VarveDirectories *all, VarveDirectory *parent, const char *name,
                     VarveDirectory **opened, int *failed, GError **error)
{
    *failed = 0;
    *opened = parent->children == NULL ? NULL : g_hash_table_lookup(parent->children, name);
    if (*opened != NULL)
        return TRUE;
    int parentfd = varve_directory_fd(all, parent, error);
    if (parentfd < 0)
        return FALSE;
    int fd = varve_fd_open_beneath(parentfd, name, O_RDONLY | O_DIRECTORY);
    if (fd < 0) {
        *failed = errno;
        return TRUE;
    }
    *opened = varve_directory_add(all, parent, name);
    keep_open(all, *opened, fd);
    return look_at(all, *opened, error);
}

/* --- the tree below -------------------------------------------------------------------------- */

gboolean
varve_directory_is_merged(VarveDirectories *all, const VarveDirectory *directory)
{
    if (all->target->whiteouts != VARVE_WHITEOUTS_OVERLAY ||
        (all->target->parent < 0 && all->target->unsettled == NULL))
        return FALSE;
    for (; directory != NULL; directory = directory->parent) {
        if (directory->opaque)
            return FALSE;
    }
    return TRUE;
}

int
varve_directory_open_below(VarveDirectories *all, const VarveDirectory *directory)
{
    if (all->target->parent < 0 || !varve_directory_is_merged(all, directory))
        return -1;
    char path[PATH_MAX];
    const char *rest = write_path(directory, NULL, path + sizeof path - 1);
    return varve_fd_open_beneath(all->target->parent, rest, O_RDONLY | O_DIRECTORY);
}

/* --- missing ones ---------------------------------------------------------------------------- */

#define IMPLIED_MODE 0755

static gboolean
take_attributes(int below, const char *name, VarveDirectory *made, GError **error)
{
    varve_autofd from = varve_fd_open_beneath(below, name, O_RDONLY | O_DIRECTORY);
    if (from < 0)
        return varve_error_set_errno(error, errno, "opening it in the layers below");
    return varve_tree_copy_attributes(from, made->fd, error);
}

/* below: a directory that has the name as a directory too, or -1. */
static gboolean
make_directory(VarveDirectories *all, VarveDirectory *parent, const char *name, int below,
               VarveDirectory **made, GError **error)
{
    int parentfd = varve_directory_fd(all, parent, error), failed;
    if (parentfd < 0)
        return FALSE;
    if (mkdirat(parentfd, name, IMPLIED_MODE) < 0)
        return varve_error_set_errno(error, errno, "making it");
    parent->dirty = TRUE;
    if (!varve_directory_open(all, parent, name, made, &failed, error))
        return FALSE;
    if (*made == NULL)
        return varve_error_set_errno(error, failed, "opening it");
    if (below >= 0)
        return take_attributes(below, name, *made, error) && look_at(all, *made, error);
    (*made)->times[0] = (*made)->times[1] = (struct timespec){0};
    (*made)->mode = IMPLIED_MODE;
    (*made)->set_mode = (*made)->dirty = TRUE;
    return TRUE;
}

/* Something that is no directory is where one is needed. A whiteout gives way. */
static gboolean
replace_whiteout(VarveDirectories *all, VarveDirectory *parent, const char *name,
                 VarveDirectory **made, GError **error)
{
    struct stat st;
    int fd = varve_directory_fd(all, parent, error);
    if (fd < 0)
        return FALSE;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return varve_error_set_errno(error, errno, "looking at it");
    if (all->target->whiteouts != VARVE_WHITEOUTS_OVERLAY || !varve_is_whiteout(&st))
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "it is no directory");
    if (unlinkat(fd, name, 0) < 0)
        return varve_error_set_errno(error, errno, "removing the whiteout");
    return make_directory(all, parent, name, -1, made, error) &&
           varve_directory_make_opaque(*made, (*made)->fd, error);
}

/* --- symbolic links -------------------------------------------------------------------------- */

/* What is left of a path. */
typedef struct {
    char *text; /* owned once a link was followed */
    const char *rest;
    guint links;
} Way;

static gboolean
follow_link(Way *way, int dirfd, const char *name, GError **error)
{
    char target[PATH_MAX];
    ssize_t length = readlinkat(dirfd, name, target, sizeof target - 1);
    if (length < 0)
        return varve_error_set_errno(error, errno, "reading the symbolic link");
    target[length] = '\0';
    if (++way->links > MAX_LINKS || (gsize)length + strlen(way->rest) >= PATH_MAX)
        return varve_error_set_errno(error, ELOOP, "following symbolic links");
    char *text = g_strconcat(target, "/", way->rest, NULL);
    g_free(way->text);
    way->rest = way->text = text;
    return TRUE;
}

static gboolean
note_unsettled(VarveDirectories *all, const VarveDirectory *made, GError **error)
{
    if (all->target->unsettled == NULL || !varve_directory_is_merged(all, made))
        return TRUE;
    g_autofree char *path = varve_directory_path(made);
    return varve_unsettled_note(all->target->unsettled, path, VARVE_UNSETTLED_DIRECTORY, error);
}

/* Nothing of that name is in the layer: makes it what it is in the layers below. *next stays NULL
 * when it is a symbolic link, which is followed then. */
static gboolean
enter_missing(VarveDirectories *all, VarveDirectory *at, const char *name, Way *way,
              VarveDirectory **next, GError **error)
{
    struct stat st;
    varve_autofd below = varve_directory_open_below(all, at);
    if (below < 0 || fstatat(below, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return make_directory(all, at, name, -1, next, error) && note_unsettled(all, *next, error);
    if (S_ISLNK(st.st_mode))
        return follow_link(way, below, name, error);
    if (S_ISDIR(st.st_mode))
        return make_directory(all, at, name, below, next, error);
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                           "it is no directory in the layers below");
}

/* --- paths ----------------------------------------------------------------------------------- */

/* Goes one component on. *at stays where it is for one that was a symbolic link, and becomes NULL
 * where nothing is and nothing is to be made. */
static gboolean
step(VarveDirectories *all, VarveDirectory **at, const char *name, Way *way, gboolean make,
     GError **error)
{
    VarveDirectory *next;
    int failed;
    if ((*at)->path_length + strlen(name) + 1 > PATH_MAX)
        return varve_error_set_errno(error, ENAMETOOLONG, "going there");
    if (!varve_directory_open(all, *at, name, &next, &failed, error))
        return FALSE;
    gboolean ok = TRUE;
    if (failed == ELOOP) {
        int fd = varve_directory_fd(all, *at, error);
        return fd >= 0 && follow_link(way, fd, name, error);
    }
    if (failed == ENOENT && make)
        ok = enter_missing(all, *at, name, way, &next, error);
    else if (failed == ENOTDIR && make)
        ok = replace_whiteout(all, *at, name, &next, error);
    else if (failed != 0 && failed != ENOENT && failed != ENOTDIR)
        return varve_error_set_errno(error, failed, "opening it");
    else if (failed != 0)
        *at = NULL;
    if (ok && next != NULL)
        *at = next;
    return ok;
}

/* Cuts off the next component; FALSE at the end. */
static gboolean
next_component(Way *way, char *name, gboolean *fits)
{
    way->rest += strspn(way->rest, "/");
    gsize length = strcspn(way->rest, "/");
    *fits = length <= NAME_MAX;
    if (length == 0 || !*fits)
        return FALSE;
    memcpy(name, way->rest, length);
    name[length] = '\0';
    way->rest += length;
    return TRUE;
}

static gboolean
walk(VarveDirectories *all, Way *way, gboolean make, VarveDirectory **found, GError **error)
{
    char name[NAME_MAX + 1];
    gboolean fits;
    VarveDirectory *at = all->root;
    while (at != NULL && next_component(way, name, &fits)) {
        gboolean absolute = FALSE;
        if (g_str_equal(name, "."))
            continue;
        if (g_str_equal(name, "..")) {
            at = at->parent != NULL ? at->parent : at;
            continue;
        }
        guint links = way->links;
        if (!step(all, &at, name, way, make, error)) {
            g_prefix_error(error, "directory '%s': ", name);
            return FALSE;
        }
        absolute = way->links != links && way->rest[0] == '/';
        if (absolute)
            at = all->root;
    }
    if (at != NULL && !fits)
        return varve_error_set_errno(error, ENAMETOOLONG, "looking for a directory");
    *found = at;
    return TRUE;
}

gboolean
varve_directories_find(VarveDirectories *all, const char *path, gboolean make,
                       VarveDirectory **found, GError **error)
{
    if (all->last != NULL && g_str_equal(all->last_path, path)) {
        *found = all->last;
        return TRUE;
    }
    *found = NULL;
    Way way = {.rest = path};
    gboolean ok = walk(all, &way, make, found, error);
    g_free(way.text);
    if (ok && *found != NULL) {
        g_free(all->last_path);
        all->last_path = g_strdup(path);
        all->last = *found;
    }
    return ok;
}

/* --- all ------------------------------------------------------------------------------------- */

VarveDirectories *
varve_directories_new(const VarveLayerTarget *target, GError **error)
{
    g_autoptr(VarveDirectories) all = g_new0(VarveDirectories, 1);
    all->target = target;
    all->root = g_new0(VarveDirectory, 1);
    all->root->name = g_strdup("");
    all->root->fd = varve_fd_open_dir(target->root, ".", error);
    if (all->root->fd < 0 || !look_at(all, all->root, error))
        return NULL;
    return g_steal_pointer(&all);
}

void
varve_directories_free(VarveDirectories *all)
{
    if (all == NULL)
        return;
    while (all->leaves.length > 0)
        forget(all, g_queue_peek_tail(&all->leaves));
    varve_fd_clear(&all->root->fd);
    g_free(all->root->name);
    g_free(all->root);
    g_free(all->last_path);
    g_free(all);
}
