/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/made.h"
#include "base/fd.h"
#include <stdlib.h>
#include <unistd.h>

#define PAGE ((gsize)512)        /* hashes that are read at once */
#define RUN  ((gsize)128 * PAGE) /* in one run, and in memory */
#define SIZE sizeof(gsize)

struct VarveMade {
    int dirfd, fd;      /* fd: of the file; -1 as long as there is none */
    GHashTable *recent; /* less than a run */
    gsize runs;
    GArray *first; /* the first hash of each page of the file, of gsize */
};

VarveMade *
varve_made_new(int dirfd)
{
    VarveMade *made = g_new0(VarveMade, 1);
    made->dirfd = dirfd;
    made->fd = -1;
    made->recent = g_hash_table_new(g_direct_hash, g_direct_equal);
    made->first = g_array_new(FALSE, FALSE, SIZE);
    return made;
}

void
varve_made_free(VarveMade *made)
{
    if (made == NULL)
        return;
    varve_fd_clear(&made->fd);
    g_hash_table_destroy(made->recent);
    g_array_unref(made->first);
    g_free(made);
}

/* --- writing --------------------------------------------------------------------------------- */

static int
compare(gconstpointer a, gconstpointer b)
{
    gsize left = *(const gsize *)a, right = *(const gsize *)b;
    return left < right ? -1 : left > right;
}

static GArray *
sort_recent(VarveMade *made)
{
    GArray *hashes = g_array_sized_new(FALSE, FALSE, SIZE, RUN);
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init(&iter, made->recent);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        gsize hash = GPOINTER_TO_SIZE(key);
        g_array_append_val(hashes, hash);
    }
    g_array_sort(hashes, compare);
    return hashes;
}

static gboolean
write_run(VarveMade *made, const GArray *hashes, GError **error)
{
    const gsize size = RUN * SIZE;
    return varve_fd_write_all(made->fd, hashes->data, size, (gint64)(made->runs * size)) ||
           varve_error_set_errno(error, errno, "writing down what the layer made");
}

static gboolean
spill(VarveMade *made, GError **error)
{
    if (made->fd < 0)
        made->fd = openat(made->dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (made->fd < 0)
        return varve_error_set_errno(error, errno, "making a file of what the layer made");
    g_autoptr(GArray) hashes = sort_recent(made);
    if (!write_run(made, hashes, error))
        return FALSE;
    for (gsize i = 0; i < RUN; i += PAGE)
        g_array_append_val(made->first, g_array_index(hashes, gsize, i));
    g_hash_table_remove_all(made->recent);
    made->runs++;
    return TRUE;
}

gboolean
varve_made_add(VarveMade *made, gsize hash, GError **error)
{
    g_hash_table_add(made->recent, GSIZE_TO_POINTER(hash));
    return g_hash_table_size(made->recent) < RUN || spill(made, error);
}

/* --- looking --------------------------------------------------------------------------------- */

/* The page of a run that has the hash, if the run has it: the last one that begins with no larger
 * one. FALSE when it would be before the first. */
static gboolean
find_page(const VarveMade *made, gsize run, gsize hash, gsize *page)
{
    gsize pages = RUN / PAGE, low = run * pages, high = low + pages;
    if (g_array_index(made->first, gsize, low) > hash)
        return FALSE;
    while (high - low > 1) {
        gsize middle = low + (high - low) / 2;
        if (g_array_index(made->first, gsize, middle) > hash)
            high = middle;
        else
            low = middle;
    }
    *page = low;
    return TRUE;
}

static gboolean
look_in_page(VarveMade *made, gsize page, gsize hash, gboolean *has, GError **error)
{
    gsize hashes[PAGE];
    ssize_t n;
    do
        n = pread(made->fd, hashes, sizeof hashes, (off_t)(page * sizeof hashes));
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof hashes)
        return varve_error_set_errno(error, n < 0 ? errno : EIO, "reading what the layer made");
    *has = bsearch(&hash, hashes, PAGE, SIZE, compare) != NULL;
    return TRUE;
}

gboolean
varve_made_has(VarveMade *made, gsize hash, gboolean *has, GError **error)
{
    *has = g_hash_table_contains(made->recent, GSIZE_TO_POINTER(hash));
    for (gsize run = 0, page; run < made->runs && !*has; run++) {
        if (find_page(made, run, hash, &page) && !look_in_page(made, page, hash, has, error))
            return FALSE;
    }
    return TRUE;
}
