/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/json.h"
#include "cli/snapshot.h"
#include "cli/table.h"
#include "cli/text.h"
#include <stdio.h>

/*
 * The tree of snapshots, drawn as rails:
 *
 *     ┌ ● debian             a rail begins with a snapshot without a parent
 *     ├── ○ shell            stands on debian
 *     │ ● debian-curl        stands on debian, as the next on its rail
 *     ├─┬ ● php              stands on debian-curl, and begins a rail
 *     │ └ ◇ look             stands on php
 *     └── ○ web              stands on debian-curl
 *
 * Of the children of a snapshot, the one that holds more than half of what stands there goes on
 * with the rail; the others branch off. So a lineage of any depth is a straight line, and since
 * each branch holds at most half of what its rail holds, the drawing is never wider than log2 of
 * the number of snapshots. All is done in time proportional to that number, and without recursion.
 */

#define NONE G_MAXUINT32

typedef struct {
    char *name;
    char *parent_name;
    VarveKind kind;
    gint64 created;
    guint32 parent, first_child, next_sibling; /* indices, or NONE */
    guint32 children, depth;
    guint32 size; /* how many it and all that stands on it are */
} Node;

/* A rail while it is drawn: what is still to come after its last snapshot. */
typedef struct {
    guint32 branch; /* the next child that may branch off, or NONE */
    guint32 next;   /* the child that goes on with the rail, or NONE */
    gsize prefix;   /* how long the prefix of the rail's own lines is */
} Rail;

typedef struct {
    const Cli *cli;
    GArray *nodes;      /* of Node, in the order of their names */
    guint32 first_root; /* chained by next_sibling */
    GArray *rails;      /* of Rail: the stack */
    GString *prefix;    /* what stands before the top rail's lines */
    CliTable *table;
    gsize json_count;
} Tree;

static Node *
node_at(const Tree *tree, guint32 i)
{
    return &g_array_index(tree->nodes, Node, i);
}

/* --- reading ------------------------------------------------------------------------------- */

static gboolean
collect(const VarveSnapshotInfo *info, gpointer data, GError **error)
{
    Node node = {
        .name = g_strdup(info->name),
        .parent_name = g_strdup(info->parent),
        .kind = info->kind,
        .created = info->created,
        .parent = NONE,
        .first_child = NONE,
        .next_sibling = NONE,
        .size = 1,
    };
    g_array_append_val(((Tree *)data)->nodes, node);
    return TRUE;
}

static void
node_clear(gpointer data)
{
    Node *node = data;
    g_free(node->name);
    g_free(node->parent_name);
}

/* Chains each node to its parent's children, or to the roots; a parent that was removed or renamed
 * while the walk ran is not there, and its child is drawn as a root. */
static void
link_nodes(Tree *tree)
{
    g_autoptr(GHashTable) by_name = g_hash_table_new(g_str_hash, g_str_equal);
    for (guint32 i = 0; i < tree->nodes->len; i++)
        g_hash_table_insert(by_name, node_at(tree, i)->name, GUINT_TO_POINTER(i + 1));
    /* Backwards, so that the chains are in the order of the names. */
    for (guint32 i = tree->nodes->len; i-- > 0;) {
        Node *node = node_at(tree, i);
        guint found = GPOINTER_TO_UINT(g_hash_table_lookup(by_name, node->parent_name));
        node->parent = found > 0 ? found - 1 : NONE;
        guint32 *chain = &tree->first_root;
        if (node->parent != NONE) {
            chain = &node_at(tree, node->parent)->first_child;
            node_at(tree, node->parent)->children++;
        }
        node->next_sibling = *chain;
        *chain = i;
    }
}

static void
append_chain(const Tree *tree, guint32 first, GArray *order)
{
    for (guint32 i = first; i != NONE; i = node_at(tree, i)->next_sibling)
        g_array_append_val(order, i);
}

/* Depths from the roots down, sizes from the leaves up. */
static void
measure_nodes(Tree *tree)
{
    g_autoptr(GArray) order = g_array_new(FALSE, FALSE, sizeof(guint32));
    append_chain(tree, tree->first_root, order);
    for (guint i = 0; i < order->len; i++) {
        Node *node = node_at(tree, g_array_index(order, guint32, i));
        node->depth = node->parent == NONE ? 0 : node_at(tree, node->parent)->depth + 1;
        append_chain(tree, node->first_child, order);
    }
    for (guint i = order->len; i-- > 0;) {
        const Node *node = node_at(tree, g_array_index(order, guint32, i));
        if (node->parent != NONE)
            node_at(tree, node->parent)->size += node->size;
    }
}

/* --- drawing ------------------------------------------------------------------------------- */

/* The pieces of rails, in the order of the columns of draw's tables. */
typedef enum {
    NOTHING,
    BLANK,       /* beside the last branch */
    PASSES,      /* beside another branch */
    ALONE,       /* a rail of one snapshot */
    BEGINS,      /* a root's rail */
    BRANCHES,    /* a branch that is not the last thing on its rail */
    LAST_BRANCH, /* one that is */
    TURNS,       /* after BRANCHES or LAST_BRANCH: a rail begins here */
    GOES_ON,
    ENDS,
} Part;

static const char *
draw(Part part)
{
    static const char *const lines[] = {"", "  ", "│ ", "─ ", "┌ ", "├─", "└─", "┬ ", "│ ", "└ "};
    static const char *const ascii[] = {"", "  ", "| ", "- ", ". ", "|-", "`-", ". ", "| ", "` "};
    return cli_use_utf8() ? lines[part] : ascii[part];
}

static char *
draw_node(const Node *node)
{
    static const struct {
        const char *symbol, *ascii, *sgr;
    } looks[] = {
        [VARVE_KIND_UNKNOWN] = {"?", "?", NULL},
        [VARVE_KIND_VIEW] = {"◇", "v", "36"},   /* cyan */
        [VARVE_KIND_ACTIVE] = {"○", "o", "32"}, /* green */
        [VARVE_KIND_COMMITTED] = {"●", "*", NULL},
    };
    guint kind = (guint)node->kind < G_N_ELEMENTS(looks) ? node->kind : VARVE_KIND_UNKNOWN;
    g_autofree char *name = cli_display_name(node->name, cli_snapshot_options.full);
    g_autofree char *both =
        g_strconcat(cli_use_utf8() ? looks[kind].symbol : looks[kind].ascii, " ", name, NULL);
    return cli_paint(looks[kind].sgr, both);
}

static void
emit_row(Tree *tree, const Node *node, const char *joint, const VarveUsage *usage)
{
    g_autofree char *rails = g_strconcat(tree->prefix->str, joint, NULL);
    g_autofree char *dim = cli_paint("2", rails), *look = draw_node(node);
    char *cell = g_strconcat(dim, look, NULL);
    char *kind = g_strdup(varve_kind_name(node->kind));
    char *created =
        cli_snapshot_options.full ? cli_format_time(node->created) : cli_format_age(node->created);
    if (cli_snapshot_options.usage)
        cli_table_add(tree->table, cell, kind, created,
                      usage != NULL ? cli_format_size((guint64)usage->bytes) : g_strdup("-"));
    else
        cli_table_add(tree->table, cell, kind, created);
}

static void
emit_json(Tree *tree, const Node *node, const VarveUsage *usage)
{
    json_t *object = json_object();
    cli_json_set(object, "name", node->name);
    cli_json_set(object, "kind", varve_kind_name(node->kind));
    cli_json_set(object, "parent", node->parent_name);
    cli_json_set_time(object, "created", node->created);
    cli_json_set_int(object, "depth", node->depth);
    cli_json_set_int(object, "children", node->children);
    if (usage != NULL) {
        cli_json_set_int(object, "bytes", (guint64)usage->bytes);
        cli_json_set_int(object, "inodes", (guint64)usage->inodes);
    }
    cli_json_list_add(&tree->json_count, object);
}

static gboolean
emit(Tree *tree, const Node *node, Part first, Part second, GError **error)
{
    VarveUsage usage;
    gboolean known = FALSE;
    if (cli_snapshot_options.usage) {
        g_autoptr(GError) failure = NULL;
        known = varve_snapshot_usage(tree->cli->pool, node->name, &usage, &failure);
        /* Removed since the walk; everything else is an error. */
        if (!known && !g_error_matches(failure, VARVE_ERROR, VARVE_ERROR_NOT_FOUND)) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return FALSE;
        }
    }
    g_autofree char *joint = g_strconcat(draw(first), draw(second), NULL);
    if (tree->table != NULL)
        emit_row(tree, node, joint, known ? &usage : NULL);
    else
        emit_json(tree, node, known ? &usage : NULL);
    return TRUE;
}

/* --- walking ------------------------------------------------------------------------------- */

/* The child that goes on with the rail, or NONE. */
static guint32
main_child(const Tree *tree, const Node *node)
{
    for (guint32 i = node->first_child; i != NONE; i = node_at(tree, i)->next_sibling)
        if (node->children == 1 || node_at(tree, i)->size > node->size / 2)
            return i;
    return NONE;
}

static void
push_rail(Tree *tree, const Node *node)
{
    Rail rail = {node->first_child, main_child(tree, node), tree->prefix->len};
    g_array_append_val(tree->rails, rail);
}

/* The next child of the rail's last snapshot that branches off, or NONE. */
static guint32
take_branch(const Tree *tree, Rail *rail)
{
    if (rail->branch != NONE && rail->branch == rail->next)
        rail->branch = node_at(tree, rail->branch)->next_sibling;
    guint32 taken = rail->branch;
    if (taken != NONE)
        rail->branch = node_at(tree, taken)->next_sibling;
    if (rail->branch != NONE && rail->branch == rail->next)
        rail->branch = node_at(tree, rail->branch)->next_sibling;
    return taken;
}

/* Draws one more line of the top rail, or ends the rail. */
static gboolean
step(Tree *tree, GError **error)
{
    Rail *rail = &g_array_index(tree->rails, Rail, tree->rails->len - 1);
    g_string_truncate(tree->prefix, rail->prefix);
    guint32 branch = take_branch(tree, rail);
    if (branch != NONE) {
        const Node *node = node_at(tree, branch);
        gboolean last = rail->branch == NONE && rail->next == NONE;
        if (!emit(tree, node, last ? LAST_BRANCH : BRANCHES, node->children > 0 ? TURNS : ALONE,
                  error))
            return FALSE;
        if (node->children > 0) {
            g_string_append(tree->prefix, draw(last ? BLANK : PASSES));
            push_rail(tree, node);
        }
    } else if (rail->next != NONE) {
        const Node *node = node_at(tree, rail->next);
        rail->branch = node->first_child;
        rail->next = main_child(tree, node);
        return emit(tree, node, node->children > 0 ? GOES_ON : ENDS, NOTHING, error);
    } else {
        g_array_set_size(tree->rails, tree->rails->len - 1);
    }
    return TRUE;
}

static gboolean
draw_all(Tree *tree, GError **error)
{
    for (guint32 root = tree->first_root; root != NONE; root = node_at(tree, root)->next_sibling) {
        const Node *node = node_at(tree, root);
        g_string_truncate(tree->prefix, 0);
        if (!emit(tree, node, node->children > 0 ? BEGINS : ALONE, NOTHING, error))
            return FALSE;
        push_rail(tree, node);
        while (tree->rails->len > 0)
            if (!step(tree, error))
                return FALSE;
    }
    return TRUE;
}

gboolean
cli_snapshot_tree(const Cli *cli, char **args, GError **error)
{
    g_autoptr(GArray) nodes = g_array_new(FALSE, FALSE, sizeof(Node));
    g_array_set_clear_func(nodes, node_clear);
    g_autoptr(GArray) rails = g_array_new(FALSE, FALSE, sizeof(Rail));
    g_autoptr(GString) prefix = g_string_new(NULL);
    g_autoptr(CliTable) table = NULL;
    if (!cli->json)
        table = cli_table_new(cli_snapshot_options.usage ? "SNAPSHOT|KIND|CREATED|>SIZE"
                                                         : "SNAPSHOT|KIND|CREATED");
    Tree tree = {.cli = cli,
                 .nodes = nodes,
                 .first_root = NONE,
                 .rails = rails,
                 .prefix = prefix,
                 .table = table};
    if (!varve_snapshot_walk(cli->pool, NULL, collect, &tree, error))
        return FALSE;
    link_nodes(&tree);
    measure_nodes(&tree);
    if (!draw_all(&tree, error))
        return FALSE;
    if (table != NULL)
        cli_table_print(table);
    else
        cli_json_list_end(&tree.json_count);
    return TRUE;
}
