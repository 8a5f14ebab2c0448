/* SPDX-License-Identifier: Apache-2.0 */
#include "changes-model.h"
#include "base/fd.h"
#include "tree-compare.h"
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* --- lines ------------------------------------------------------------------------------------ */

static void
append_what(GString *line, guint what)
{
    static const char *const names[] = {"content", "mode", "owner", "xattrs", "time"};
    const char *separator = " ";
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        if (what & (1u << i)) {
            g_string_append_printf(line, "%s%s", separator, names[i]);
            separator = ",";
        }
    }
}

char *
changes_line(const VarveChange *change)
{
    g_autofree char *path = g_strescape(change->path, NULL);
    GString *line = g_string_new(NULL);
    g_string_append_printf(line, "%s %s", varve_change_kind_name(change->kind), path);
    if (change->from != NULL) {
        g_autofree char *from = g_strescape(change->from, NULL);
        g_string_append_printf(line, " from %s", from);
    }
    append_what(line, change->what);
    return g_string_free(line, FALSE);
}

gboolean
changes_collect(const VarveChange *change, gpointer lines, GError **error)
{
    g_ptr_array_add(lines, changes_line(change));
    return TRUE;
}

GPtrArray *
changes_lines_new(void)
{
    return g_ptr_array_new_with_free_func(g_free);
}

char *
changes_join(const GPtrArray *lines)
{
    GString *text = g_string_new(NULL);
    for (guint i = 0; i < lines->len; i++)
        g_string_append_printf(text, "%s\n", (const char *)lines->pdata[i]);
    return g_string_free(text, FALSE);
}

/* --- trees in memory -------------------------------------------------------------------------- */

typedef struct {
    char *path;
    struct stat st;
    char *xattrs, *content; /* as text: sorted names with values; bytes or the link's target */
} Node;

typedef struct {
    GPtrArray *nodes; /* of Node*, in no order */
    GHashTable *by_path;
} Tree;

static void
node_free(gpointer data)
{
    Node *node = data;
    g_free(node->path);
    g_free(node->xattrs);
    g_free(node->content);
    g_free(node);
}

static int
compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *
read_xattrs(int dirfd, const char *name)
{
    static char list[65536], value[65536];
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d/%s", dirfd, name);
    g_autoptr(GPtrArray) lines = changes_lines_new();
    ssize_t length = llistxattr(path, list, sizeof list);
    g_assert_true(length >= 0 || errno == EOPNOTSUPP);
    for (const char *at = list; at < list + length; at += strlen(at) + 1) {
        ssize_t size = lgetxattr(path, at, value, sizeof value);
        g_assert_no_errno(size);
        g_autofree char *base64 = g_base64_encode((guchar *)value, (gsize)size);
        if (!g_str_has_prefix(at, "trusted.SGI_ACL_"))
            g_ptr_array_add(lines, g_strconcat(at, "=", base64, NULL));
    }
    g_ptr_array_sort(lines, compare_strings);
    return changes_join(lines);
}

static char *
read_content(int dirfd, const char *name, const struct stat *st)
{
    if (S_ISLNK(st->st_mode)) {
        char target[4097] = {0};
        g_assert_no_errno(readlinkat(dirfd, name, target, sizeof target - 1));
        return g_strdup(target);
    }
    if (!S_ISREG(st->st_mode))
        return g_strdup("");
    varve_autofd fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NOATIME);
    g_assert_no_errno(fd);
    g_autofree guchar *bytes = g_malloc((gsize)st->st_size + 1);
    g_assert_cmpint(pread(fd, bytes, (gsize)st->st_size + 1, 0), ==, st->st_size);
    return g_compute_checksum_for_data(G_CHECKSUM_SHA256, bytes, (gsize)st->st_size);
}

/* path: of what is read, "" for the root, whose name is ".". */
static void
read_node(Tree *tree, int dirfd, const char *name, const char *path)
{
    Node *node = g_new0(Node, 1);
    node->path = g_strdup(*path != '\0' ? path : "/");
    g_assert_no_errno(fstatat(dirfd, name, &node->st, AT_SYMLINK_NOFOLLOW));
    node->xattrs = read_xattrs(dirfd, name);
    node->content = read_content(dirfd, name, &node->st);
    g_ptr_array_add(tree->nodes, node);
    g_hash_table_insert(tree->by_path, node->path, node);
    if (!S_ISDIR(node->st.st_mode))
        return;
    varve_autofd dir = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NOATIME);
    g_assert_no_errno(dir);
    g_autoptr(GPtrArray) names = tree_names(dir);
    for (guint i = 0; i < names->len; i++) {
        g_autofree char *below = g_strconcat(path, "/", names->pdata[i], NULL);
        read_node(tree, dir, names->pdata[i], below);
    }
}

static Tree
read_tree(int root)
{
    Tree tree = {g_ptr_array_new_with_free_func(node_free),
                 g_hash_table_new(g_str_hash, g_str_equal)};
    if (root >= 0)
        read_node(&tree, root, ".", "");
    return tree;
}

static const Node *
node_at(const Tree *tree, const char *path)
{
    return path != NULL ? g_hash_table_lookup(tree->by_path, path) : NULL;
}

static void
tree_clear(Tree *tree)
{
    g_hash_table_unref(tree->by_path);
    g_ptr_array_unref(tree->nodes);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Tree, tree_clear)

/* --- comparing -------------------------------------------------------------------------------- */

/* By components, and what is deleted first. */
static int
compare_changes(gconstpointer a, gconstpointer b)
{
    const VarveChange *first = *(VarveChange *const *)a, *second = *(VarveChange *const *)b;
    g_auto(GStrv) x = g_strsplit(first->path + 1, "/", -1),
                  y = g_strsplit(second->path + 1, "/", -1);
    char **p = x, **q = y;
    for (; *p != NULL && *q != NULL && g_str_equal(*p, *q); p++, q++)
        continue;
    if (*p != NULL && *q != NULL)
        return strcmp(*p, *q);
    if (*p == NULL && *q == NULL)
        return first->kind == VARVE_CHANGE_DELETED ? -1 : 1;
    return *p == NULL ? -1 : 1;
}

static gboolean
same_type(const Node *a, const Node *b)
{
    return (a->st.st_mode & S_IFMT) == (b->st.st_mode & S_IFMT) &&
           (!(S_ISCHR(a->st.st_mode) || S_ISBLK(a->st.st_mode)) || a->st.st_rdev == b->st.st_rdev);
}

static guint
difference(const Node *a, const Node *b)
{
    guint what = 0;
    if (!g_str_equal(a->content, b->content))
        what |= VARVE_CHANGE_CONTENT;
    if (a->st.st_mode != b->st.st_mode)
        what |= VARVE_CHANGE_MODE;
    if (a->st.st_uid != b->st.st_uid || a->st.st_gid != b->st.st_gid)
        what |= VARVE_CHANGE_OWNER;
    if (!g_str_equal(a->xattrs, b->xattrs))
        what |= VARVE_CHANGE_XATTRS;
    if (memcmp(&a->st.st_mtim, &b->st.st_mtim, sizeof a->st.st_mtim) != 0)
        what |= VARVE_CHANGE_TIME;
    return what;
}

typedef struct {
    Tree before, after;
    GHashTable *renames, *away;
    GHashTable *origins; /* path in after to path in before, of all that have one */
    GHashTable *kept;    /* the other way round */
    GHashTable *covered; /* paths in before that a renamed one took the place of */
    GPtrArray *changes;  /* of VarveChange* with strings of the trees' */
} Model;

static void
add(Model *model, VarveChangeKind kind, const char *path, const char *from, guint what)
{
    VarveChange *change = g_new0(VarveChange, 1);
    *change = (VarveChange){.kind = kind, .what = what, .path = path, .from = from};
    g_ptr_array_add(model->changes, change);
}

/* The path in before that a path in after would have if nothing but the directories above it had
 * been renamed; NULL where its directory is new. */
static char *
natural_origin(Model *model, const char *path)
{
    g_autofree char *dir = g_path_get_dirname(path);
    const char *origin = g_hash_table_lookup(model->origins, dir);
    if (origin == NULL)
        return NULL;
    const char *name = strrchr(path, '/') + 1;
    return g_strconcat(g_str_equal(origin, "/") ? "" : origin, "/", name, NULL);
}

static void
settle(Model *model, const Node *node)
{
    gboolean root = g_str_equal(node->path, "/");
    g_autofree char *natural = root ? g_strdup("/") : natural_origin(model, node->path);
    const char *from = g_hash_table_lookup(model->renames, node->path);
    const Node *origin = node_at(&model->before, from != NULL ? from : natural);
    if (from != NULL) {
        g_assert_nonnull(origin);
        g_assert_true(same_type(origin, node));
        g_assert_cmpstr(natural, !=, from); /* it is elsewhere than it would be anyway */
        if (natural != NULL)
            g_hash_table_add(model->covered, g_steal_pointer(&natural));
    } else if (origin != NULL && g_hash_table_contains(model->away, origin->path)) {
        origin = NULL;
    }
    if (origin == NULL) {
        add(model, VARVE_CHANGE_ADDED, node->path, NULL, 0);
        return;
    }
    g_hash_table_insert(model->origins, node->path, origin->path);
    g_assert_true(g_hash_table_insert(model->kept, origin->path, node->path));
    guint what = same_type(origin, node) ? difference(origin, node) : 0;
    if (from != NULL)
        add(model, VARVE_CHANGE_RENAMED, node->path, from, what);
    else if (!same_type(origin, node))
        add(model, VARVE_CHANGE_REPLACED, node->path, NULL, 0);
    else if (what != 0)
        add(model, VARVE_CHANGE_MODIFIED, node->path, NULL, what);
}

/* Only the top of what is gone is told, and nothing of what something else took the place of. */
static void
bury(Model *model, const Node *node)
{
    if (g_hash_table_contains(model->kept, node->path) ||
        g_hash_table_contains(model->covered, node->path))
        return;
    g_autofree char *dir = g_path_get_dirname(node->path);
    const char *now = g_hash_table_lookup(model->kept, dir);
    const Node *above = node_at(&model->after, now);
    if (above != NULL && S_ISDIR(above->st.st_mode))
        add(model, VARVE_CHANGE_DELETED, node->path, NULL, 0);
}

static void
model_clear(Model *model)
{
    tree_clear(&model->before);
    tree_clear(&model->after);
    g_hash_table_unref(model->away);
    g_hash_table_unref(model->origins);
    g_hash_table_unref(model->kept);
    g_hash_table_unref(model->covered);
    g_ptr_array_unref(model->changes);
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Model, model_clear)

GPtrArray *
changes_expected(int before, int after, GHashTable *renames)
{
    g_auto(Model) model = {
        .before = read_tree(before),
        .after = read_tree(after),
        .renames = renames,
        .away = g_hash_table_new(g_str_hash, g_str_equal),
        .origins = g_hash_table_new(g_str_hash, g_str_equal),
        .kept = g_hash_table_new(g_str_hash, g_str_equal),
        .covered = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
        .changes = g_ptr_array_new_with_free_func(g_free),
    };
    GHashTableIter iter;
    gpointer to, from;
    g_hash_table_iter_init(&iter, renames);
    while (g_hash_table_iter_next(&iter, &to, &from)) {
        g_assert_nonnull(node_at(&model.after, to));
        g_assert_true(g_hash_table_add(model.away, from)); /* each went to one place */
    }
    for (guint i = 0; i < model.after.nodes->len; i++) /* a directory before what is in it */
        settle(&model, model.after.nodes->pdata[i]);
    for (guint i = 0; i < model.before.nodes->len; i++)
        bury(&model, model.before.nodes->pdata[i]);
    g_ptr_array_sort(model.changes, compare_changes);

    GPtrArray *lines = changes_lines_new();
    for (guint i = 0; i < model.changes->len; i++)
        g_ptr_array_add(lines, changes_line(model.changes->pdata[i]));
    return lines;
}
