/* SPDX-License-Identifier: Apache-2.0 */
#include "layer-scratch.h"
#include "base/tree.h"
#include "tree-compare.h"
#include "tree-everything.h"
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

LayerScratch *
layer_scratch_new(void)
{
    LayerScratch *layers = g_new0(LayerScratch, 1);
    layers->scratch = scratch_new(NULL, 0);
    g_assert_nonnull(layers->scratch);
    int top = layers->scratch->fd;
    layers->root = tree_make_dir(top, "root", 0755);
    layers->outside = tree_make_dir(top, "outside", 0711);
    tree_write_file(layers->outside, "victim", "untouched", 9, 0640);
    varve_autofd inner = tree_make_dir(layers->outside, "dir", 0750);
    tree_write_file(inner, "secret", "hidden", 6, 0600);
    g_assert_no_errno(symlinkat("victim", layers->outside, "link"));
    layers->outside_path = g_build_filename(layers->scratch->path, "outside", NULL);

    g_autoptr(GError) error = NULL;
    varve_tree_copy(top, "outside", top, "copy", NULL, &error);
    g_assert_no_error(error);
    layers->copy = varve_fd_open_dir(top, "copy", NULL);
    layers->target = (VarveLayerTarget){.root = layers->root, .parent = -1, .fresh = TRUE};
    return layers;
}

void
layer_scratch_free(LayerScratch *layers)
{
    static const char *const names[] = {"root", "outside", "copy"};
    if (layers == NULL)
        return;
    tree_compare(layers->copy, layers->outside);
    varve_fd_clear(&layers->root);
    varve_fd_clear(&layers->outside);
    varve_fd_clear(&layers->copy);
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++)
        g_assert_true(varve_tree_remove(layers->scratch->fd, names[i], NULL, NULL));
    g_autoptr(GPtrArray) rest = tree_names(layers->scratch->fd);
    g_assert_cmpuint(rest->len, ==, 0);
    scratch_free(layers->scratch);
    g_free(layers->outside_path);
    g_free(layers);
}

typedef struct {
    const GByteArray *bytes;
    gsize at, piece;
} Memory;

static gssize
read_memory(gpointer data, void *buffer, gsize size, GError **error)
{
    Memory *memory = data;
    gsize n = MIN(size, memory->bytes->len - memory->at);
    n = memory->piece > 0 ? MIN(n, memory->piece) : n;
    if (n > 0)
        memcpy(buffer, memory->bytes->data + memory->at, n);
    memory->at += n;
    return (gssize)n;
}

gboolean
layer_apply(LayerScratch *layers, const GByteArray *layer, VarveLayerInfo *info, GError **error)
{
    Memory memory = {layer, 0, layers->piece};
    return varve_layer_apply((VarveSource){read_memory, &memory}, &layers->target, info, error);
}

void
layer_apply_ok(LayerScratch *layers, GByteArray *layer)
{
    g_autoptr(GError) error = NULL;
    g_auto(VarveLayerInfo) info = {0};
    layer_apply(layers, layer, &info, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(info.compressed, ==, layer->len);
    g_byte_array_unref(layer);
}

void
layer_apply_fails(LayerScratch *layers, GByteArray *layer, const char *message)
{
    g_autoptr(GError) error = NULL;
    g_auto(VarveLayerInfo) info = {0};
    g_assert_false(layer_apply(layers, layer, &info, &error));
    g_assert_nonnull(error);
    if (strstr(error->message, message) == NULL)
        g_error("'%s' is not in: %s", message, error->message);
    g_byte_array_unref(layer);
}

static void
assert_missing(LayerScratch *layers, const char *path)
{
    struct stat st;
    if (fstatat(layers->root, path, &st, AT_SYMLINK_NOFOLLOW) == 0 ||
        (errno != ENOENT && errno != ENOTDIR))
        g_error("'%s' should not be there", path);
}

void
layer_assert_file(LayerScratch *layers, const char *path, const char *content)
{
    if (content == NULL) {
        assert_missing(layers, path);
        return;
    }
    char found[4096] = {0};
    varve_autofd fd = openat(layers->root, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        g_error("'%s': %s", path, g_strerror(errno));
    g_assert_no_errno(read(fd, found, sizeof found - 1));
    g_assert_cmpstr(found, ==, content);
}

void
layer_assert_attributes(LayerScratch *layers, const char *path, const char *attributes)
{
    struct stat st;
    g_assert_no_errno(fstatat(layers->root, path, &st, AT_SYMLINK_NOFOLLOW));
    g_autofree char *found =
        g_strdup_printf("%o %u %u %ld.%09ld", st.st_mode & 07777, st.st_uid, st.st_gid,
                        (long)st.st_mtim.tv_sec, (long)st.st_mtim.tv_nsec);
    g_assert_cmpstr(found, ==, attributes);
}

gboolean
layer_same(LayerScratch *layers, const char *a, const char *b)
{
    struct stat first, second;
    g_assert_no_errno(fstatat(layers->root, a, &first, AT_SYMLINK_NOFOLLOW));
    g_assert_no_errno(fstatat(layers->root, b, &second, AT_SYMLINK_NOFOLLOW));
    return first.st_ino == second.st_ino;
}
