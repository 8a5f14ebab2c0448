/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Works on snapshots through the library, as it is told over a socket: a program with threads that
 * a test can load and then kill.
 *
 *     load ROOT POOL SOCKET
 *
 * Each connection to SOCKET (SOCK_SEQPACKET) has a thread of its own. A request is one packet of
 * strings that are ended by NUL bytes, the operation's name first; so is the answer: "ok" and the
 * result, or "error", the error's code and its message.
 */

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <varve/varve.h>

#define MAX_PACKET (128 << 10)
#define MAX_WORDS  8

static VarveEngine *engine;
static VarvePool *pool;

static void
add(GString *answer, const char *word)
{
    g_string_append_len(answer, word, (gssize)strlen(word) + 1);
}

static void
add_mount(GString *answer, VarveMount *mount)
{
    add(answer, mount->type);
    add(answer, mount->source);
    for (char **option = mount->options; *option != NULL; option++)
        add(answer, *option);
    varve_mount_free(mount);
}

/* --- operations ---------------------------------------------------------------------------- */

static gboolean
prepare(char **words, GString *answer, GError **error)
{
    VarveMount *mount = NULL;
    if (!varve_snapshot_prepare(pool, words[1], words[2], NULL, &mount, error))
        return FALSE;
    add_mount(answer, mount);
    return TRUE;
}

static gboolean
view(char **words, GString *answer, GError **error)
{
    VarveMount *mount = NULL;
    if (!varve_snapshot_view(pool, words[1], words[2], NULL, &mount, error))
        return FALSE;
    add_mount(answer, mount);
    return TRUE;
}

static gboolean
mounts(char **words, GString *answer, GError **error)
{
    VarveMount *mount = NULL;
    if (!varve_snapshot_mounts(pool, words[1], &mount, error))
        return FALSE;
    add_mount(answer, mount);
    return TRUE;
}

static gboolean
commit(char **words, GString *answer, GError **error)
{
    return varve_snapshot_commit(pool, words[1], words[2], NULL, NULL, error);
}

static gboolean
capture(char **words, GString *answer, GError **error)
{
    return varve_snapshot_capture(pool, words[1], words[2], NULL, error);
}

static gboolean
remove_snapshot(char **words, GString *answer, GError **error)
{
    return varve_snapshot_remove(pool, words[1], error);
}

static gboolean
label(char **words, GString *answer, GError **error)
{
    g_autoptr(GHashTable) labels = g_hash_table_new(g_str_hash, g_str_equal);
    g_hash_table_insert(labels, words[2], words[3]);
    return varve_snapshot_update(pool, words[1], labels, NULL, NULL, error);
}

static const struct {
    const char *name;
    int n_args;
    gboolean (*run)(char **words, GString *answer, GError **error);
} operations[] = {
    {"prepare", 2, prepare}, {"view", 2, view},   {"mounts", 1, mounts},
    {"commit", 2, commit},   {"label", 3, label}, {"remove", 1, remove_snapshot},
    {"capture", 2, capture},
};

static gboolean
run(char **words, int n_args, GString *answer, GError **error)
{
    for (gsize i = 0; i < G_N_ELEMENTS(operations); i++)
        if (g_str_equal(words[0], operations[i].name) && n_args == operations[i].n_args)
            return operations[i].run(words, answer, error);
    g_error("the request '%s' with %d arguments is not known", words[0], n_args);
}

/* --- connections --------------------------------------------------------------------------- */

static int
split(char *packet, char *end, char **words)
{
    int n = 0;
    for (char *at = packet; at < end && n < MAX_WORDS; at += strlen(at) + 1)
        words[n++] = at;
    return n;
}

static gpointer
serve(gpointer data)
{
    int connection = GPOINTER_TO_INT(data);
    g_autofree char *packet = g_malloc0(MAX_PACKET + 1);
    g_autoptr(GString) answer = g_string_new(NULL);
    ssize_t size;
    while ((size = read(connection, packet, MAX_PACKET)) > 0) {
        char *words[MAX_WORDS];
        g_autoptr(GError) error = NULL;
        g_string_truncate(answer, 0);
        packet[size] = '\0';
        int n = split(packet, packet + size, words);
        add(answer, "ok");
        if (!run(words, n - 1, answer, &error)) {
            g_autofree char *code = g_strdup_printf("%d", error->code);
            g_string_truncate(answer, 0);
            add(answer, "error");
            add(answer, code);
            add(answer, error->message);
        }
        if (write(connection, answer->str, answer->len) < 0)
            break;
    }
    close(connection);
    return NULL;
}

static int
listen_on(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    g_strlcpy(address.sun_path, path, sizeof address.sun_path);
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 64) < 0) {
        perror(path);
        return -1;
    }
    return fd;
}

int
main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    if (argc != 4) {
        fprintf(stderr, "usage: load ROOT POOL SOCKET\n");
        return 2;
    }
    engine = varve_engine_open(argv[1], VARVE_ENGINE_MUST_EXIST, &error);
    pool = engine != NULL ? varve_engine_get_pool(engine, argv[2], &error) : NULL;
    if (pool == NULL) {
        fprintf(stderr, "load: %s\n", error->message);
        return 1;
    }
    int listener = listen_on(argv[3]);
    for (int connection; listener >= 0 && (connection = accept(listener, NULL, NULL)) >= 0;)
        g_thread_unref(g_thread_new("load", serve, GINT_TO_POINTER(connection)));
    return 1;
}
