/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registry client by itself, between a registry and an OCI layout directory:
 *
 *     registry-tool [OPTION...] resolve NAME             DIGEST SIZE TYPE
 *     registry-tool [OPTION...] tags NAME                one per line
 *     registry-tool [OPTION...] has NAME DIGEST          yes or no
 *     registry-tool [OPTION...] pull NAME DIRECTORY      with all that an index names
 *     registry-tool [OPTION...] push DIRECTORY NAME      prints what was done with each blob
 *     registry-tool [OPTION...] blob NAME DIGEST SIZE FILE
 *                                                        goes on with FILE.part if it is there
 *     registry-tool [OPTION...] put-blob FILE NAME
 *
 * Errors go to standard error as "CODE: MESSAGE", and the exit status is the code's.
 */
#include "base/digest.h"
#include "base/fd.h"
#include "image/registry/registry.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    gboolean plain, verify_outside, no_restart, progress;
    char *ca, *certificate, *key, *certs_dir, *auth_file, *user, *host, *from;
    char **mirrors;
    int chunk, retries, delay, wait_max, stall, connect, jobs, cancel_after, cancel_at, repeat;
} options = {.retries = -1, .jobs = 4, .repeat = 1};

static const GOptionEntry entries[] = {
    {"host", 0, 0, G_OPTION_ARG_STRING, &options.host, "whom the settings are for", "NAME"},
    {"plain", 0, 0, G_OPTION_ARG_NONE, &options.plain, "", NULL},
    {"ca", 0, 0, G_OPTION_ARG_STRING, &options.ca, "", "FILE"},
    {"cert", 0, 0, G_OPTION_ARG_STRING, &options.certificate, "", "FILE"},
    {"key", 0, 0, G_OPTION_ARG_STRING, &options.key, "", "FILE"},
    {"certs-dir", 0, 0, G_OPTION_ARG_STRING, &options.certs_dir, "", "DIR"},
    {"auth-file", 0, 0, G_OPTION_ARG_STRING, &options.auth_file, "", "FILE"},
    {"user", 0, 0, G_OPTION_ARG_FILENAME, &options.user, "", "USER:PASSWORD"},
    {"mirror", 0, 0, G_OPTION_ARG_STRING_ARRAY, &options.mirrors, "", "URL"},
    {"from", 0, 0, G_OPTION_ARG_STRING, &options.from, "mount blobs from there", "REPOSITORY"},
    {"chunk", 0, 0, G_OPTION_ARG_INT, &options.chunk, "", "BYTES"},
    {"retries", 0, 0, G_OPTION_ARG_INT, &options.retries, "", "N"},
    {"delay", 0, 0, G_OPTION_ARG_INT, &options.delay, "", "MS"},
    {"wait-max", 0, 0, G_OPTION_ARG_INT, &options.wait_max, "", "MS"},
    {"stall", 0, 0, G_OPTION_ARG_INT, &options.stall, "", "MS"},
    {"connect", 0, 0, G_OPTION_ARG_INT, &options.connect, "", "MS"},
    {"jobs", 0, 0, G_OPTION_ARG_INT, &options.jobs, "", "N"},
    {"cancel-after", 0, 0, G_OPTION_ARG_INT, &options.cancel_after, "", "MS"},
    {"cancel-at", 0, 0, G_OPTION_ARG_INT, &options.cancel_at, "", "BYTES"},
    {"repeat", 0, 0, G_OPTION_ARG_INT, &options.repeat, "do it N times", "N"},
    {"no-restart", 0, 0, G_OPTION_ARG_NONE, &options.no_restart, "", NULL},
    {"progress", 0, 0, G_OPTION_ARG_NONE, &options.progress, "", NULL},
    {NULL},
};

static VarveRegistry *registry;
static gint cancelled;
static GMutex lock; /* of what several threads of a pull share */

static void
on_progress(guint64 done, guint64 total, gpointer data)
{
    if (options.cancel_at > 0 && done >= (guint64)options.cancel_at)
        g_atomic_int_set(&cancelled, 1);
    if (options.progress)
        fprintf(stderr, "progress %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT "\n", done, total);
}

static const VarveRegistryWatch watch = {&cancelled, on_progress, NULL};

/* --- files ------------------------------------------------------------------------------------ */

typedef struct {
    int fd;
    const char *digest;
} File;

static gboolean
file_write(gpointer data, const void *bytes, gsize size, GError **error)
{
    const File *file = data;
    while (size > 0) {
        gssize n = write(file->fd, bytes, size);
        if (n < 0)
            return varve_error_set_errno(error, errno, "writing a blob");
        bytes = (const char *)bytes + n;
        size -= (gsize)n;
    }
    return TRUE;
}

static gboolean
file_restart(gpointer data, GError **error)
{
    const File *file = data;
    if (ftruncate(file->fd, 0) == 0 && lseek(file->fd, 0, SEEK_SET) == 0)
        return TRUE;
    return varve_error_set_errno(error, errno, "beginning a blob anew");
}

static gboolean
file_finish(gpointer data, GError **error)
{
    const File *file = data;
    g_autoptr(VarveDigester) digester = varve_digester_new();
    char buffer[65536];
    off_t at = 0;
    for (gssize n; (n = pread(file->fd, buffer, sizeof buffer, at)) > 0; at += n)
        varve_digester_update(digester, buffer, (gsize)n);
    g_autofree char *digest = varve_digester_finish(digester);
    return g_str_equal(digest, file->digest) ||
           varve_error_set(error, VARVE_ERROR_CORRUPT, "the file's digest is %s", digest);
}

static gssize
file_read(gpointer data, guint64 offset, void *buffer, gsize size, GError **error)
{
    const File *file = data;
    gssize n = pread(file->fd, buffer, size, (off_t)offset);
    if (n < 0)
        varve_error_set_errno(error, errno, "reading a blob");
    return n;
}

static char *
blob_path(const char *directory, const char *digest)
{
    return g_build_filename(directory, "blobs/sha256", varve_digest_hex(digest), NULL);
}

static gboolean
write_file(const char *path, const void *bytes, gsize n, GError **error)
{
    g_autoptr(GError) problem = NULL;
    return g_file_set_contents(path, bytes, (gssize)n, &problem) ||
           varve_error_set(error, VARVE_ERROR_INTERNAL, "%s", problem->message);
}

static gboolean
fetch_file(const VarveReference *name, const VarveRegistryDescriptor *blob, const char *path,
           GError **error)
{
    g_autofree char *part = g_strconcat(path, ".part", NULL);
    varve_autofd fd = open(part, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return varve_error_set_errno(error, errno, "opening '%s'", part);
    File file = {fd, blob->digest};
    VarveRegistryReceiver receiver = {file_write, st.st_size > 0 ? file_finish : NULL,
                                      options.no_restart ? NULL : file_restart, &file};
    if (!varve_registry_fetch_blob(registry, name, blob, (guint64)st.st_size, &receiver, &watch,
                                   error))
        return FALSE;
    return rename(part, path) == 0 || varve_error_set_errno(error, errno, "renaming '%s'", part);
}

static gboolean
push_file(const VarveReference *name, const VarveRegistryDescriptor *blob, const char *path,
          GError **error)
{
    static const char *const words[] = {"uploaded", "was-there", "mounted"};
    varve_autofd fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return varve_error_set_errno(error, errno, "opening '%s'", path);
    File file = {fd, blob->digest};
    const VarveRegistryContent content = {file_read, &file};
    VarveRegistryPushed how;
    if (!varve_registry_push_blob(registry, name, blob, &content, options.from, &how, &watch,
                                  error))
        return FALSE;
    g_mutex_lock(&lock);
    printf("%s %s\n", blob->digest, words[how]);
    g_mutex_unlock(&lock);
    return TRUE;
}

/* --- several blobs at once -------------------------------------------------------------------- */

typedef gboolean (*BlobFunc)(const VarveReference *name, const VarveRegistryDescriptor *blob,
                             const char *path, GError **error);

typedef struct {
    BlobFunc func;
    const VarveReference *name;
    const char *directory;
    GPtrArray *queue; /* of VarveRegistryDescriptor */
    GHashTable *seen;
    GError *error; /* the first one */
} Work;

static void
descriptor_free(VarveRegistryDescriptor *descriptor)
{
    varve_registry_descriptor_clear(descriptor);
    g_free(descriptor);
}

static void
work_add(Work *work, json_t *object)
{
    const char *digest = json_string_value(json_object_get(object, "digest"));
    if (digest == NULL || !g_hash_table_add(work->seen, g_strdup(digest)))
        return;
    VarveRegistryDescriptor *blob = g_new0(VarveRegistryDescriptor, 1);
    blob->digest = g_strdup(digest);
    blob->size = (guint64)json_integer_value(json_object_get(object, "size"));
    g_ptr_array_add(work->queue, blob);
}

static gpointer
work_thread(gpointer data)
{
    Work *work = data;
    for (;;) {
        g_mutex_lock(&lock);
        VarveRegistryDescriptor *blob =
            work->queue->len > 0 && work->error == NULL
                ? g_ptr_array_steal_index_fast(work->queue, work->queue->len - 1)
                : NULL;
        g_mutex_unlock(&lock);
        if (blob == NULL)
            return NULL;
        g_autofree char *path = blob_path(work->directory, blob->digest);
        g_autoptr(GError) error = NULL;
        if (!work->func(work->name, blob, path, &error)) {
            g_mutex_lock(&lock);
            if (work->error == NULL)
                work->error = g_steal_pointer(&error);
            g_mutex_unlock(&lock);
        }
        descriptor_free(blob);
    }
}

static gboolean
work_run(Work *work, GError **error)
{
    g_autoptr(GPtrArray) threads = g_ptr_array_new();
    for (int i = 0; i < options.jobs; i++)
        g_ptr_array_add(threads, g_thread_new("blob", work_thread, work));
    for (guint i = 0; i < threads->len; i++)
        g_thread_join(g_ptr_array_index(threads, i));
    g_ptr_array_unref(work->queue);
    g_hash_table_unref(work->seen);
    if (work->error != NULL)
        g_propagate_error(error, work->error);
    return work->error == NULL;
}

static Work
work_new(BlobFunc func, const VarveReference *name, const char *directory)
{
    return (Work){func,
                  name,
                  directory,
                  g_ptr_array_new_with_free_func((GDestroyNotify)descriptor_free),
                  g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL),
                  NULL};
}

static void
work_add_all(Work *work, json_t *manifest)
{
    json_t *layer;
    size_t i;
    if (json_object_get(manifest, "config") != NULL)
        work_add(work, json_object_get(manifest, "config"));
    json_array_foreach(json_object_get(manifest, "layers"), i, layer) work_add(work, layer);
}

/* --- pulling ---------------------------------------------------------------------------------- */

static gboolean
pull_tree(const VarveReference *name, const char *directory, Work *work,
          VarveRegistryDescriptor *descriptor, GError **error)
{
    g_autoptr(GBytes) bytes =
        varve_registry_fetch_manifest(registry, name, descriptor, &watch, error);
    if (bytes == NULL)
        return FALSE;
    gsize n;
    const char *text = g_bytes_get_data(bytes, &n);
    g_autofree char *path = blob_path(directory, descriptor->digest);
    if (!write_file(path, text, n, error))
        return FALSE;
    json_t *manifest = json_loadb(text, n, 0, NULL), *entry;
    size_t i;
    gboolean good = TRUE;
    work_add_all(work, manifest);
    json_array_foreach(json_object_get(manifest, "manifests"), i, entry)
    {
        g_auto(VarveRegistryDescriptor) below = {0};
        VarveReference part = *name;
        part.tag = NULL;
        part.digest = (char *)json_string_value(json_object_get(entry, "digest"));
        good = good && pull_tree(&part, directory, work, &below, error);
    }
    json_decref(manifest);
    return good;
}

static gboolean
write_layout(const char *directory, const VarveRegistryDescriptor *top, GError **error)
{
    static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
    g_autofree char *layout_path = g_build_filename(directory, "oci-layout", NULL);
    g_autofree char *index_path = g_build_filename(directory, "index.json", NULL);
    g_autofree char *index = g_strdup_printf(
        "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"%s\",\"digest\":\"%s\","
        "\"size\":%" G_GUINT64_FORMAT "}]}",
        top->media_type, top->digest, top->size);
    return write_file(layout_path, layout, strlen(layout), error) &&
           write_file(index_path, index, strlen(index), error);
}

static gboolean
pull(const VarveReference *name, char **args, GError **error)
{
    g_autofree char *blobs = g_build_filename(args[0], "blobs/sha256", NULL);
    g_auto(VarveRegistryDescriptor) top = {0};
    Work work = work_new(fetch_file, name, args[0]);
    g_mkdir_with_parents(blobs, 0755);
    gboolean good = pull_tree(name, args[0], &work, &top, &work.error);
    if (!work_run(&work, error) || !good || !write_layout(args[0], &top, error))
        return FALSE;
    printf("%s\n", top.digest);
    return TRUE;
}

/* --- pushing ---------------------------------------------------------------------------------- */

static json_t *
load_blob(const char *directory, const char *digest, GBytes **bytes)
{
    g_autofree char *path = blob_path(directory, digest);
    char *text = NULL;
    gsize n = 0;
    g_file_get_contents(path, &text, &n, NULL);
    *bytes = g_bytes_new_take(text, n);
    return json_loadb(text, n, 0, NULL);
}

static gboolean
push_tree(const VarveReference *name, const char *directory, json_t *descriptor, GError **error)
{
    const char *digest = json_string_value(json_object_get(descriptor, "digest"));
    const char *type = json_string_value(json_object_get(descriptor, "mediaType"));
    g_autoptr(GBytes) bytes = NULL;
    json_t *manifest = load_blob(directory, digest, &bytes), *entry;
    size_t i;
    VarveReference below = {name->domain, name->path, NULL, NULL};
    Work work = work_new(push_file, name, directory);
    work_add_all(&work, manifest);
    gboolean good = work_run(&work, error);
    json_array_foreach(json_object_get(manifest, "manifests"), i, entry) good =
        good && push_tree(&below, directory, entry, error);
    json_decref(manifest);
    g_auto(VarveRegistryDescriptor) pushed = {0};
    good =
        good && varve_registry_push_manifest(registry, name, type, bytes, &pushed, &watch, error);
    if (good)
        printf("%s manifest\n", pushed.digest);
    return good;
}

static gboolean
push(const VarveReference *name, char **args, GError **error)
{
    g_autofree char *path = g_build_filename(args[0], "index.json", NULL);
    json_t *index = json_load_file(path, 0, NULL);
    json_t *top = json_array_get(json_object_get(index, "manifests"), 0);
    gboolean good = push_tree(name, args[0], top, error);
    json_decref(index);
    return good;
}

/* --- the others ------------------------------------------------------------------------------- */

static gboolean
resolve(const VarveReference *name, char **args, GError **error)
{
    g_auto(VarveRegistryDescriptor) found = {0};
    if (!varve_registry_resolve(registry, name, &found, &watch, error))
        return FALSE;
    printf("%s %" G_GUINT64_FORMAT " %s\n", found.digest, found.size, found.media_type);
    return TRUE;
}

static gboolean
tags(const VarveReference *name, char **args, GError **error)
{
    g_autoptr(GPtrArray) list = varve_registry_tags(registry, name, &watch, error);
    for (guint i = 0; list != NULL && i < list->len; i++)
        puts(g_ptr_array_index(list, i));
    return list != NULL;
}

static gboolean
has(const VarveReference *name, char **args, GError **error)
{
    gboolean there = FALSE;
    if (!varve_registry_has_blob(registry, name, args[0], &there, &watch, error))
        return FALSE;
    puts(there ? "yes" : "no");
    return TRUE;
}

static gboolean
blob(const VarveReference *name, char **args, GError **error)
{
    const VarveRegistryDescriptor wanted = {NULL, args[0], g_ascii_strtoull(args[1], NULL, 10)};
    return fetch_file(name, &wanted, args[2], error);
}

static gboolean
put_blob(const VarveReference *name, char **args, GError **error)
{
    struct stat st;
    varve_autofd fd = open(args[0], O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        return varve_error_set_errno(error, errno, "opening '%s'", args[0]);
    g_autoptr(VarveDigester) digester = varve_digester_new();
    char buffer[65536];
    for (gssize n; (n = read(fd, buffer, sizeof buffer)) > 0;)
        varve_digester_update(digester, buffer, (gsize)n);
    g_autofree char *digest = varve_digester_finish(digester);
    const VarveRegistryDescriptor given = {NULL, digest, (guint64)st.st_size};
    return push_file(name, &given, args[0], error);
}

static const struct {
    const char *name;
    int n_args;
    int name_at; /* which argument is the image's name */
    gboolean (*func)(const VarveReference *name, char **args, GError **error);
} commands[] = {
    {"resolve", 1, 0, resolve},   {"tags", 1, 0, tags}, {"has", 2, 0, has},
    {"pull", 2, 0, pull},         {"push", 2, 1, push}, {"blob", 4, 0, blob},
    {"put-blob", 2, 1, put_blob},
};

static VarveRegistry *
open_registry(const VarveReference *name, GError **error)
{
    g_auto(GStrv) user = options.user != NULL ? g_strsplit(options.user, ":", 2) : NULL;
    const VarveRegistryHost host = {
        .name = options.host != NULL ? options.host : name->domain,
        .mirrors = (const char *const *)options.mirrors,
        .plain_http = options.plain,
        .ca_file = options.ca,
        .client_certificate = options.certificate,
        .client_key = options.key,
        .username = user != NULL ? user[0] : NULL,
        .password = user != NULL ? user[1] : NULL,
        .chunk_size = (guint64)options.chunk,
    };
    const VarveRegistrySettings settings = {
        .hosts = &host,
        .n_hosts = 1,
        .certificates_dir = options.certs_dir,
        .auth_file = options.auth_file,
        .connect_timeout_ms = (guint)options.connect,
        .stall_timeout_ms = (guint)options.stall,
        .retries = options.retries == 0  ? VARVE_REGISTRY_NO_RETRIES
                   : options.retries > 0 ? (guint)options.retries
                                         : 0,
        .retry_delay_ms = (guint)options.delay,
        .retry_wait_max_ms = (guint)options.wait_max,
    };
    return varve_registry_new(&settings, error);
}

static gpointer
cancel_later(gpointer data)
{
    g_usleep((gulong)options.cancel_after * 1000);
    g_atomic_int_set(&cancelled, 1);
    return NULL;
}

static gboolean
run(char **argv, GError **error)
{
    for (gsize i = 0; i < G_N_ELEMENTS(commands); i++) {
        int n = (int)g_strv_length(argv + 1);
        if (!g_str_equal(argv[0], commands[i].name) || n != commands[i].n_args)
            continue;
        int at = commands[i].name_at;
        g_autoptr(VarveReference) name = varve_reference_parse(argv[1 + at], TRUE, error);
        registry = name != NULL ? open_registry(name, error) : NULL;
        if (registry == NULL)
            return FALSE;
        if (options.cancel_after > 0)
            g_thread_unref(g_thread_new("cancel", cancel_later, NULL));
        gboolean good = TRUE;
        for (int turn = 0; good && turn < options.repeat; turn++)
            good = commands[i].func(name, argv + (at == 0 ? 2 : 1), error);
        varve_registry_free(registry);
        return good;
    }
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "wrong usage");
}

int
main(int argc, char **argv)
{
    g_autoptr(GOptionContext) context = g_option_context_new("COMMAND ARGUMENT...");
    g_autoptr(GError) error = NULL;
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || argc < 2) {
        fprintf(stderr, "%s\n", error != NULL ? error->message : "wrong usage");
        return 2;
    }
    if (run(argv + 1, &error))
        return 0;
    fprintf(stderr, "%s: %s\n", varve_error_name(error), error->message);
    return varve_error_exit_status(error);
}
