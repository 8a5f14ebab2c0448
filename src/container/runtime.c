/* SPDX-License-Identifier: Apache-2.0 */
#include "base/json.h"
#include "base/process.h"
#include "container/internal.h"
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_STATE (1 << 20)
#define MAX_LOG   (1 << 20)
#define LOG       "runtime.log"

/* --- finding it --------------------------------------------------------------------------- */

static char *
find_program(const char *name)
{
    g_autofree char *path = g_find_program_in_path(name);
    return path != NULL && g_path_is_absolute(path) ? g_steal_pointer(&path)
                                                    : varve_process_find(name, name, NULL);
}

char *
varve_runtime_find(const char *name, GError **error)
{
    if (name != NULL && strchr(name, '/') != NULL) {
        if (access(name, X_OK) == 0)
            return g_canonicalize_filename(name, NULL);
        varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                        "the runtime %s cannot be executed: %s", name, g_strerror(errno));
        return NULL;
    }
    char *path = find_program(name != NULL ? name : "runc");
    if (path == NULL && name == NULL)
        path = find_program("crun");
    if (path == NULL)
        varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                        "the OCI runtime %s is not installed: it is in the package of that name",
                        name != NULL ? name : "runc");
    return path;
}

/* --- calling it --------------------------------------------------------------------------- */

/* Signals that a terminal sends to its foreground are for this process to pass on, and must not end
 * the runtime half-way. Between fork and exec, as the next one. */
static void
leave_foreground(gpointer data)
{
    (void)setpgid(0, 0);
}

/* It ends with the thread that called it, so that who finds the lock free finds nobody who still
 * makes a container. Not so when it starts one: half-way, it would leave it as if not started. */
static void
leave_foreground_and_end(gpointer data)
{
    leave_foreground(data);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static char *const environment[] = {
    (char *)"LC_ALL=C", (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    NULL};

static GPtrArray *
begin_line(const char *runtime, char *root)
{
    GPtrArray *line = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(line, g_strdup(runtime));
    g_ptr_array_add(line, g_strdup("--root"));
    g_ptr_array_add(line, root);
    return line;
}

/* The runtime's directory by the bundle's descriptor: runtimes make it when it is missing, its
 * parents too, and so would bring a bundle back that is being removed by somebody else. */
static char *
held_root(const VarveBundle *bundle)
{
    return g_strdup_printf("/proc/%d/fd/%d/runtime", (int)getpid(), bundle->fd);
}

static void
add_words(GPtrArray *line, ...)
{
    va_list words;
    va_start(words, line);
    for (const char *word; (word = va_arg(words, const char *)) != NULL;)
        g_ptr_array_add(line, g_strdup(word));
    va_end(words);
    g_ptr_array_add(line, NULL);
}

/* Runs it with its output caught. */
static gboolean
call(GPtrArray *line, char **output, GError **error)
{
    g_autofree char *said = NULL, *complaint = NULL;
    g_autoptr(GError) why = NULL;
    int status;
    if (!g_spawn_sync("/", (char **)line->pdata, (char **)environment, G_SPAWN_DEFAULT,
                      leave_foreground, NULL, &said, &complaint, &status, &why) ||
        !g_spawn_check_wait_status(status, &why)) {
        g_autofree char *name = g_path_get_basename(line->pdata[0]);
        const char *text = complaint != NULL ? g_strstrip(complaint) : "";
        return varve_error_set(error, VARVE_ERROR_INTERNAL, "%s: %s", name,
                               *text != '\0' ? text : why->message);
    }
    if (output != NULL)
        *output = g_steal_pointer(&said);
    return TRUE;
}

gboolean
varve_runtime_do(const VarveBundle *bundle, const char *runtime, const char *verb,
                 const char *argument, GError **error)
{
    /* Others than who runs it kill only; what is begun here may outlive this process, and its
     * /proc. */
    char *root = g_str_equal(verb, "kill") ? held_root(bundle)
                                           : g_build_filename(bundle->path, "runtime", NULL);
    g_autoptr(GPtrArray) line = begin_line(runtime, root);
    add_words(line, verb, bundle->id, argument, NULL);
    return call(line, NULL, error);
}

/* --- creating ----------------------------------------------------------------------------- */

/* What the runtime's log says last. */
static char *
last_complaint(const VarveBundle *bundle)
{
    gsize size;
    g_autofree char *text = varve_bundle_read(bundle, LOG, MAX_LOG, &size, NULL);
    if (text == NULL)
        return NULL;
    g_strchomp(text);
    const char *newline = strrchr(text, '\n'), *message = NULL;
    const char *last = newline != NULL ? newline + 1 : text;
    json_auto_t *object = varve_json_parse(last, strlen(last), MAX_LOG, JSON_OBJECT, NULL);
    return object != NULL && varve_json_get_string(object, "msg", &message, NULL)
               ? g_strdup(message)
               : NULL;
}

/* Runtimes have no codes for why. What is found wrong with the program itself is Docker's 126 and
 * 127. */
static VarveErrorCode
judge(const char *complaint, int *status)
{
    static const struct {
        const char *words;
        int status;
        VarveErrorCode code;
    } cases[] = {
        {"executable file not found", 127, VARVE_ERROR_NOT_FOUND},
        {"executable file `", 127, VARVE_ERROR_NOT_FOUND}, /* crun */
        {"no such file or directory", 127, VARVE_ERROR_NOT_FOUND},
        {"permission denied", 126, VARVE_ERROR_PERMISSION_DENIED},
        {"is a directory", 126, VARVE_ERROR_INVALID_ARGUMENT},
        {"not a directory", 126, VARVE_ERROR_INVALID_ARGUMENT},
    };
    *status = 125;
    if (strstr(complaint, "exec") == NULL || strstr(complaint, "mounting") != NULL)
        return VARVE_ERROR_INTERNAL;
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        if (strstr(complaint, cases[i].words) != NULL) {
            *status = cases[i].status;
            return cases[i].code;
        }
    }
    return VARVE_ERROR_INTERNAL;
}

static gboolean
tell_failure(const VarveBundle *bundle, int wait_status, int *status, GError **error)
{
    g_autofree char *complaint = last_complaint(bundle);
    g_autoptr(GError) why = NULL;
    *status = 125;
    if (complaint != NULL)
        return varve_error_set(error, judge(complaint, status), "%s", complaint);
    (void)g_spawn_check_wait_status(wait_status, &why);
    return varve_error_set(error, VARVE_ERROR_INTERNAL, "the runtime: %s",
                           why != NULL ? why->message : "it did not say why");
}

static gboolean
read_pid(const VarveBundle *bundle, pid_t *pid, GError **error)
{
    guint64 value;
    g_autofree char *text = varve_bundle_read(bundle, "pid", 32, NULL, error);
    if (text == NULL)
        return FALSE;
    if (!g_ascii_string_to_unsigned(g_strchomp(text), 10, 1, G_MAXINT, &value, NULL))
        return varve_error_set(error, VARVE_ERROR_INTERNAL, "the runtime wrote no process id");
    *pid = (pid_t)value;
    return TRUE;
}

static gboolean
wait_for(pid_t child, int *status, GError **error)
{
    while (waitpid(child, status, 0) < 0)
        if (errno != EINTR)
            return varve_error_set_errno(error, errno, "waiting for the runtime");
    return TRUE;
}

gboolean
varve_runtime_create(const VarveBundle *bundle, const char *runtime, const char *console_socket,
                     pid_t *pid, int *status, GError **error)
{
    g_autoptr(GPtrArray) line =
        begin_line(runtime, g_build_filename(bundle->path, "runtime", NULL));
    g_autofree char *pid_file = g_build_filename(bundle->path, "pid", NULL);
    g_autofree char *log = g_build_filename(bundle->path, LOG, NULL);
    *status = 125;
    for (const char *const *word = (const char *const[]){"--log", log, "--log-format", "json",
                                                         "create", "--pid-file", pid_file, NULL};
         *word != NULL; word++)
        g_ptr_array_add(line, g_strdup(*word));
    if (console_socket != NULL) {
        g_ptr_array_add(line, g_strdup("--console-socket"));
        g_ptr_array_add(line, g_strdup(console_socket)); /* beside it: paths of sockets are short */
    }
    add_words(line, bundle->id, NULL);

    GPid child;
    int wait_status = 0;
    g_autoptr(GError) why = NULL;
    GSpawnFlags flags = G_SPAWN_DO_NOT_REAP_CHILD;
    if (console_socket == NULL)
        flags |= G_SPAWN_CHILD_INHERITS_STDIN;
    if (!g_spawn_async(bundle->path, (char **)line->pdata, (char **)environment, flags,
                       leave_foreground_and_end, NULL, &child, &why))
        return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION, "%s", why->message);
    if (!wait_for(child, &wait_status, error))
        return FALSE;
    if (wait_status != 0)
        return tell_failure(bundle, wait_status, status, error);
    return read_pid(bundle, pid, error);
}

/* --- asking ------------------------------------------------------------------------------- */

gboolean
varve_runtime_knows(const VarveBundle *bundle)
{
    g_autofree char *state = g_build_filename("runtime", bundle->id, NULL);
    return faccessat(bundle->fd, state, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

char *
varve_runtime_state(const VarveBundle *bundle, const char *runtime, gint64 *pid)
{
    g_autofree char *output = NULL;
    const char *state = NULL;
    *pid = 0;
    if (!varve_runtime_knows(bundle))
        return NULL;
    g_autoptr(GPtrArray) line = begin_line(runtime, held_root(bundle));
    add_words(line, "state", bundle->id, NULL);
    if (!call(line, &output, NULL))
        return NULL;
    json_auto_t *object = varve_json_parse(output, strlen(output), MAX_STATE, JSON_OBJECT, NULL);
    if (object == NULL || !varve_json_get_string(object, "status", &state, NULL) ||
        !varve_json_get_integer(object, "pid", 0, G_MAXINT, pid, NULL))
        return NULL;
    return g_strdup(state);
}

gboolean
varve_runtime_delete(const VarveBundle *bundle, const char *runtime, GError **error)
{
    if (!varve_runtime_knows(bundle))
        return TRUE;
    g_autoptr(GPtrArray) line = begin_line(runtime, held_root(bundle));
    add_words(line, "delete", "--force", bundle->id, NULL);
    return call(line, NULL, error);
}
