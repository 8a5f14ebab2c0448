/* SPDX-License-Identifier: Apache-2.0 */
#include "base/walk.h"
#include <dirent.h>
#include <stdalign.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROGRESS_INTERVAL (250 * G_TIME_SPAN_MILLISECOND)
#define PLACE_LENGTH      240 /* of a message, not of anything that is opened */

/* The entries of one directory that were read last: a type byte and a name with its NUL, one after
 * the other. */
typedef struct {
    GByteArray *entries;
    gsize next;       /* offset of the entry to come */
    off_t position;   /* in the directory, of what was not read yet */
    gboolean whole;   /* there is nothing more to read */
    const char *name; /* the directory's own, within the entries of the one above it */
} Frame;

struct VarveWalk {
    VarveDirstack *stack; /* as deep as frames at all times */
    GArray *frames;
    char *top; /* the first directory's name */
    VarveTreeWatch watch;
    const char *verb;
    guint64 files, bytes;
    gint64 told; /* when progress was, in monotonic microseconds */
    alignas(struct dirent64) char buffer[32768];
};

static Frame *
frame_at(const VarveWalk *walk, gsize i)
{
    return &g_array_index(walk->frames, Frame, i);
}

static Frame *
last(const VarveWalk *walk)
{
    return frame_at(walk, walk->frames->len - 1);
}

static gboolean
is_dot(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* DT_UNKNOWN when it is gone already. */
static unsigned char
type_of(int dirfd, const struct dirent64 *entry)
{
    struct stat st;
    if (entry->d_type != DT_UNKNOWN)
        return entry->d_type;
    return fstatat(dirfd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? IFTODT(st.st_mode)
                                                                        : DT_UNKNOWN;
}

static void
take_entries(VarveWalk *walk, Frame *frame, int fd, gsize length)
{
    for (char *at = walk->buffer; at < walk->buffer + length;) {
        const struct dirent64 *entry = (const void *)at;
        at += entry->d_reclen;
        frame->position = entry->d_off;
        unsigned char type = is_dot(entry->d_name) ? DT_UNKNOWN : type_of(fd, entry);
        if (type == DT_UNKNOWN)
            continue;
        g_byte_array_append(frame->entries, &type, 1);
        g_byte_array_append(frame->entries, (const guint8 *)entry->d_name,
                            (guint)strlen(entry->d_name) + 1);
    }
}

/* Reads the next entries of the directory that the walk is in, unless it is at its end. Since the
 * directory may have been closed meanwhile, it is told from where. Returns an errno value. */
static int
read_entries(VarveWalk *walk)
{
    int fd = varve_dirstack_top(walk->stack);
    Frame *frame = last(walk);
    frame->next = 0;
    g_byte_array_set_size(frame->entries, 0);
    while (!frame->whole && frame->entries->len == 0) {
        if (frame->position != 0 && lseek(fd, frame->position, SEEK_SET) < 0)
            return errno;
        ssize_t length = getdents64(fd, walk->buffer, sizeof walk->buffer);
        if (length < 0 && errno != ENOENT) /* that is: it was removed meanwhile */
            return errno;
        frame->whole = length <= 0;
        if (length > 0)
            take_entries(walk, frame, fd, (gsize)length);
    }
    return 0;
}

/* Appends a frame for the directory that was just opened. */
static int
begin_directory(VarveWalk *walk, const char *name)
{
    Frame frame = {.entries = g_byte_array_new(), .name = name};
    g_array_append_val(walk->frames, frame);
    return read_entries(walk);
}

VarveWalk *
varve_walk_new(int dirfd, const char *name, const char *verb, const VarveTreeWatch *watch,
               GError **error)
{
    int fd = varve_fd_open_dir(dirfd, name, error);
    if (fd < 0)
        return NULL;
    (void)fcntl(fd, F_SETFL, O_NOATIME); /* as below it; not everybody may */
    g_autoptr(VarveWalk) walk = g_new0(VarveWalk, 1);
    walk->stack = varve_dirstack_new(fd);
    walk->frames = g_array_new(FALSE, FALSE, sizeof(Frame));
    walk->top = g_strdup(name);
    walk->watch = watch != NULL ? *watch : (VarveTreeWatch){NULL};
    walk->verb = verb;
    walk->told = g_get_monotonic_time();
    int failed = begin_directory(walk, NULL);
    if (failed != 0) {
        varve_error_set_errno(error, failed, "reading directory %s", name);
        return NULL;
    }
    return g_steal_pointer(&walk);
}

void
varve_walk_free(VarveWalk *walk)
{
    if (walk == NULL)
        return;
    for (gsize i = 0; i < walk->frames->len; i++)
        g_byte_array_unref(frame_at(walk, i)->entries);
    g_array_unref(walk->frames);
    varve_dirstack_free(walk->stack);
    g_free(walk->top);
    g_free(walk);
}

gboolean
varve_walk_next(VarveWalk *walk, VarveWalkEntry *entry, GError **error)
{
    if (!varve_check_cancelled(walk->watch.cancelled, error))
        return FALSE;
    Frame *frame = last(walk);
    *entry = (VarveWalkEntry){NULL};
    int failed = frame->next == frame->entries->len ? read_entries(walk) : 0;
    if (failed != 0) {
        g_autofree char *place = varve_walk_place(walk, NULL);
        return varve_error_set_errno(error, failed, "reading directory %s", place);
    }
    if (frame->next == frame->entries->len)
        return TRUE;
    entry->type = frame->entries->data[frame->next];
    entry->name = (const char *)frame->entries->data + frame->next + 1;
    frame->next += 1 + strlen(entry->name) + 1;
    return TRUE;
}

int
varve_walk_fd(const VarveWalk *walk)
{
    return varve_dirstack_top(walk->stack);
}

gsize
varve_walk_depth(const VarveWalk *walk)
{
    return walk->frames->len - 1;
}

static void
drop_frame(VarveWalk *walk)
{
    g_byte_array_unref(last(walk)->entries);
    g_array_set_size(walk->frames, walk->frames->len - 1);
}

int
varve_walk_enter(VarveWalk *walk, const char *name)
{
    int failed = varve_dirstack_push(walk->stack, name);
    if (failed != 0)
        return failed;
    failed = begin_directory(walk, name);
    if (failed != 0) {
        drop_frame(walk);
        (void)varve_dirstack_pop(walk->stack, NULL);
    }
    return failed;
}

gboolean
varve_walk_leave(VarveWalk *walk, const char **name, GError **error)
{
    if (!varve_dirstack_pop(walk->stack, error))
        return FALSE;
    if (name != NULL)
        *name = last(walk)->name;
    drop_frame(walk);
    return TRUE;
}

static GString *
join_path(const VarveWalk *walk, const char *first, const char *name)
{
    GString *path = g_string_new(first);
    for (gsize i = 1; i <= walk->frames->len; i++) {
        const char *part = i < walk->frames->len ? frame_at(walk, i)->name : name;
        if (part != NULL)
            g_string_append_printf(path, "%s%s", path->len > 0 ? "/" : "", part);
    }
    return path;
}

char *
varve_walk_path(const VarveWalk *walk, const char *name)
{
    return g_string_free(join_path(walk, NULL, name), FALSE);
}

char *
varve_walk_printable(const char *path)
{
    gsize length = strlen(path);
    gboolean cut = length > PLACE_LENGTH;
    g_autofree char *text =
        cut ? g_strconcat("...", path + length - PLACE_LENGTH, NULL) : g_strdup(path);
    gboolean printable = g_utf8_validate(text, -1, NULL);
    for (const char *at = text; printable && *at != '\0'; at++)
        printable = !g_ascii_iscntrl(*at);
    return printable ? g_steal_pointer(&text) : g_strescape(text, NULL);
}

char *
varve_walk_place(const VarveWalk *walk, const char *name)
{
    g_autoptr(GString) path = join_path(walk, walk->top, name);
    return varve_walk_printable(path->str);
}

gboolean
varve_walk_count(VarveWalk *walk, guint64 files, guint64 bytes, GError **error)
{
    walk->files += files;
    walk->bytes += bytes;
    if (walk->watch.progress != NULL && g_get_monotonic_time() - walk->told >= PROGRESS_INTERVAL) {
        walk->watch.progress(walk->verb, walk->files, walk->bytes, walk->watch.progress_data);
        walk->told = g_get_monotonic_time();
    }
    return varve_check_cancelled(walk->watch.cancelled, error);
}
