/* SPDX-License-Identifier: Apache-2.0 */
/* Applies a layer to a directory and says what it was and how long it took:
 *     apply LAYER DIRECTORY [fresh|merge|overlay] [PARENT] */
#include "layer/apply.h"
#include "base/fd.h"
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static gssize
read_file(gpointer data, void *buffer, gsize size, GError **error)
{
    ssize_t n = read(*(int *)data, buffer, size);
    if (n < 0)
        varve_error_set_errno(error, errno, "reading the layer");
    return n;
}

static void
report(const VarveLayerInfo *info, gint64 microseconds)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("%s %s %" G_GUINT64_FORMAT " entries, %" G_GUINT64_FORMAT " bytes of %" G_GUINT64_FORMAT
           ", %.3f s, user %.3f, system %.3f, %ld KB\n",
           info->digest, info->diff_id, info->entries, info->compressed, info->plain,
           (double)microseconds / 1e6,
           (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6,
           (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6, usage.ru_maxrss);
}

int
main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    const char *how = argc > 3 ? argv[3] : "fresh";
    g_autoptr(GError) error = NULL;
    g_auto(VarveLayerInfo) info = {0};
    varve_autofd layer = open(argv[1], O_RDONLY | O_CLOEXEC);
    varve_autofd root = varve_fd_open_dir(AT_FDCWD, argv[2], NULL);
    varve_autofd parent = argc > 4 ? varve_fd_open_dir(AT_FDCWD, argv[4], NULL) : -1;
    VarveLayerTarget target = {.root = root,
                               .parent = parent,
                               .fresh = !g_str_equal(how, "merge"),
                               .whiteouts = g_str_equal(how, "overlay") ? VARVE_WHITEOUTS_OVERLAY
                                                                        : VARVE_WHITEOUTS_REMOVE};
    gint64 begin = g_get_monotonic_time();
    if (!varve_layer_apply((VarveSource){read_file, &layer}, &target, &info, &error)) {
        fprintf(stderr, "%s: %s\n", argv[1], error->message);
        return 1;
    }
    report(&info, g_get_monotonic_time() - begin);
    return 0;
}
