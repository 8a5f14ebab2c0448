/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credential helpers: `docker-credential-NAME get` reads the server's name and prints a JSON object
 * (https://github.com/docker/docker-credential-helpers#development).
 */
#include "base/fd.h"
#include "image/registry/internal.h"
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_OUTPUT (64 * 1024)
#define TIMEOUT    (60 * G_USEC_PER_SEC)
#define POLL_MS    50

/* What helpers print, and end with 1, when they have none. */
#define NONE "credentials not found"

typedef struct {
    GPid pid;
    int out;
    gint64 deadline;
    const gint *cancelled;
    GByteArray *output;
} Helper;

/* The server's name as standard input. A file, not a pipe: nothing is killed by a helper that does
 * not read it. */
static int
input_file(const char *server, GError **error)
{
    varve_autofd fd = memfd_create("server", MFD_CLOEXEC);
    gsize n = strlen(server);
    if (fd < 0 || write(fd, server, n) != (gssize)n || lseek(fd, 0, SEEK_SET) != 0) {
        varve_error_set_errno(error, errno, "writing its input");
        return -1;
    }
    int result = fd;
    fd = -1;
    return result;
}

static gboolean
start(Helper *helper, const char *program, const char *server, GError **error)
{
    varve_autofd in = input_file(server, error);
    if (in < 0)
        return FALSE;
    const char *argv[] = {program, "get", NULL};
    g_autoptr(GError) problem = NULL;
    if (g_spawn_async_with_pipes_and_fds(NULL, argv, NULL,
                                         G_SPAWN_SEARCH_PATH | G_SPAWN_DO_NOT_REAP_CHILD |
                                             G_SPAWN_STDERR_TO_DEV_NULL | G_SPAWN_CLOEXEC_PIPES,
                                         NULL, NULL, in, -1, -1, NULL, NULL, 0, &helper->pid, NULL,
                                         &helper->out, NULL, &problem))
        return TRUE;
    return varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION, "%s", problem->message);
}

static gboolean
in_time(const Helper *helper, GError **error)
{
    if (g_get_monotonic_time() > helper->deadline)
        return varve_error_set(error, VARVE_ERROR_UNAVAILABLE, "it did not end in %d s",
                               (int)(TIMEOUT / G_USEC_PER_SEC));
    return varve_check_cancelled(helper->cancelled, error);
}

static gboolean
read_output(Helper *helper, GError **error)
{
    for (;;) {
        if (!in_time(helper, error))
            return FALSE;
        struct pollfd wait = {.fd = helper->out, .events = POLLIN};
        if (poll(&wait, 1, POLL_MS) <= 0)
            continue;
        guint8 buffer[4096];
        gssize n = read(helper->out, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return varve_error_set_errno(error, errno, "reading its output");
        if (n == 0)
            return TRUE;
        g_byte_array_append(helper->output, buffer, (guint)n);
        explicit_bzero(buffer, sizeof buffer);
        if (helper->output->len > MAX_OUTPUT)
            return varve_error_set(error, VARVE_ERROR_CORRUPT, "it prints too much");
    }
}

static gboolean
wait_for_end(Helper *helper, int *status, GError **error)
{
    for (;;) {
        pid_t pid = waitpid(helper->pid, status, WNOHANG);
        if (pid == helper->pid)
            return TRUE;
        if (pid < 0 && errno == ECHILD) { /* the program ignores SIGCHLD: what it printed decides */
            *status = 0;
            return TRUE;
        }
        if (pid < 0 && errno != EINTR)
            return varve_error_set_errno(error, errno, "waiting for its end");
        if (!in_time(helper, error))
            return FALSE;
        g_usleep(1000);
    }
}

static VarveRegistryCredentials *
judge(const Helper *helper, int status, GError **error)
{
    const char *text = (const char *)helper->output->data;
    gsize n = helper->output->len;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return varve_registry_helper_parse(text, n, error);
    g_autofree char *shown = varve_registry_text_clean(n > 0 ? text : "", (gssize)n);
    if (g_str_has_prefix(shown, NONE))
        return NULL;
    varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION, "it failed: %s",
                    shown[0] != '\0' ? shown : "without a word");
    return NULL;
}

static void
overwrite(GByteArray *bytes)
{
    if (bytes->len > 0)
        explicit_bzero(bytes->data, bytes->len);
    g_byte_array_unref(bytes);
}

VarveRegistryCredentials *
varve_registry_helper_ask(const char *name, const char *server, const gint *cancelled,
                          GError **error)
{
    g_autofree char *program = g_strconcat("docker-credential-", name, NULL);
    Helper helper = {.out = -1, .cancelled = cancelled};
    GError *problem = NULL;
    VarveRegistryCredentials *credentials = NULL;
    helper.deadline = g_get_monotonic_time() + TIMEOUT;
    helper.output = g_byte_array_new();
    int status = 0;
    if (start(&helper, program, server, &problem)) {
        if (read_output(&helper, &problem) && wait_for_end(&helper, &status, &problem)) {
            credentials = judge(&helper, status, &problem);
        } else {
            kill(helper.pid, SIGKILL);
            waitpid(helper.pid, NULL, 0);
        }
        close(helper.out);
    }
    overwrite(helper.output);
    if (problem != NULL)
        g_propagate_prefixed_error(
            error, problem, "asking the credential helper '%s' about '%s': ", program, server);
    return credentials;
}
