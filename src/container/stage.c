/* SPDX-License-Identifier: Apache-2.0 */
#include "container/internal.h"
#include "container/spec.h"
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * Everything here happens in a thread of its own, which is in a mount namespace of its own: there
 * the snapshot is mounted, and from there the runtime is started, so it sees the mount and nobody
 * else does. The runtime copies the namespace for the container; when the last process in it ends,
 * by whatever cause, the kernel unmounts what is in it.
 *
 * The runtime creates the container and starts it in two calls, and is gone after each. The
 * container's first process is then adopted by this one, which waits for it. So no process stands
 * between, and each signal reaches the container once.
 */

#define MAX_ACCOUNTS (1 << 20)
#define MAX_NETWORK  (1 << 20)

/* --- what the runtime is told ------------------------------------------------------------- */

static gboolean
resolve_user(const VarveStage *stage, int root, VarveUser *user, GError **error)
{
    const char *wanted = stage->options->user != NULL ? stage->options->user : stage->image->user;
    g_autofree char *passwd = varve_root_read(root, "etc/passwd", MAX_ACCOUNTS, error);
    g_autofree char *group =
        passwd != NULL ? varve_root_read(root, "etc/group", MAX_ACCOUNTS, error) : NULL;
    return group != NULL && varve_user_resolve(passwd, group, wanted, user, error);
}

/* A limit of this process's is raised for the container only by who may raise any. */
static guint64
max_files(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (guint64)limit.rlim_max : 0;
}

static gboolean
write_spec(const VarveStage *stage, const VarveUser *user, GError **error)
{
    const VarveSpecSource source = {.id = stage->bundle->id,
                                    .image = stage->image,
                                    .options = stage->options,
                                    .user = user,
                                    .cgroup = stage->cgroup,
                                    .max_files = max_files()};
    json_auto_t *spec = varve_spec_new(&source, error);
    if (spec == NULL)
        return FALSE;
    char *text = json_dumps(spec, JSON_INDENT(2));
    gboolean done = varve_bundle_write(stage->bundle, "config.json", text, 0600, error);
    free(text);
    return done;
}

/* The host's, as they are now. */
static gboolean
write_network_files(const VarveStage *stage, GError **error)
{
    static const char *const names[] = {"resolv.conf", "hosts"};
    const VarveContainerOptions *options = stage->options;
    if (!options->host_network)
        return TRUE;
    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autofree char *path = g_build_filename("/etc", names[i], NULL);
        varve_autofd fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        g_autofree char *text =
            fd < 0 ? g_strdup("") : varve_root_read_all(fd, path, MAX_NETWORK, NULL, error);
        if (text == NULL || !varve_bundle_write(stage->bundle, names[i], text, 0644, error))
            return FALSE;
    }
    const char *hostname = options->hostname != NULL ? options->hostname : stage->bundle->id;
    g_autofree char *line = g_strconcat(hostname, "\n", NULL);
    return varve_bundle_write(stage->bundle, "hostname", line, 0644, error);
}

static gboolean
write_bundle(const VarveStage *stage, const char *root_path, GError **error)
{
    g_auto(VarveUser) user = {0};
    varve_autofd root = varve_fd_open_dir(AT_FDCWD, root_path, error);
    return root >= 0 && resolve_user(stage, root, &user, error) &&
           write_spec(stage, &user, error) && write_network_files(stage, error);
}

/* --- while it runs ------------------------------------------------------------------------ */

typedef struct {
    const VarveStage *stage;
    VarveTerminal *terminal; /* NULL for none */
    int signals;
    pid_t pid;
} Running;

/* Ctrl-Z: the container's processes are in a session of their own, where no terminal's signal
 * reaches them; they are frozen instead. */
static void
suspend(const Running *running)
{
    const VarveStage *stage = running->stage;
    if (running->terminal != NULL)
        varve_terminal_pause(running->terminal);
    gboolean frozen = varve_runtime_do(stage->bundle, stage->runtime, "pause", NULL, NULL);
    varve_signals_stop();
    if (frozen)
        (void)varve_runtime_do(stage->bundle, stage->runtime, "resume", NULL, NULL);
    if (running->terminal != NULL) {
        varve_terminal_resume(running->terminal);
        varve_terminal_resize(running->terminal);
    }
}

static void
pass_on(const Running *running)
{
    unsigned char number;
    while (read(running->signals, &number, 1) == 1) {
        if (number == SIGTSTP)
            suspend(running);
        else if (number != SIGWINCH)
            (void)kill(running->pid, number); /* ours to wait for: the number is no other's yet */
        else if (running->terminal != NULL)
            varve_terminal_resize(running->terminal);
    }
}

static gboolean
attend(const Running *running, GError **error)
{
    varve_autofd process = (int)syscall(SYS_pidfd_open, running->pid, 0);
    if (process < 0)
        return varve_error_set_errno(error, errno, "watching process %d", (int)running->pid);
    struct pollfd polls[4] = {{.fd = running->signals, .events = POLLIN},
                              {.fd = process, .events = POLLIN},
                              {.fd = -1},
                              {.fd = -1}};
    while ((polls[1].revents & POLLIN) == 0) {
        if (running->terminal != NULL)
            varve_terminal_poll(running->terminal, polls + 2);
        if (poll(polls, G_N_ELEMENTS(polls), -1) < 0) {
            if (errno != EINTR)
                return varve_error_set_errno(error, errno, "waiting for the container");
            continue;
        }
        if (polls[0].revents != 0)
            pass_on(running);
        if (running->terminal != NULL)
            varve_terminal_copy(running->terminal, polls + 2);
    }
    if (running->terminal != NULL)
        varve_terminal_drain(running->terminal);
    return TRUE;
}

static gboolean
take_status(pid_t pid, int *status, GError **error)
{
    int how;
    while (waitpid(pid, &how, 0) < 0)
        if (errno != EINTR)
            return varve_error_set_errno(error, errno, "waiting for process %d", (int)pid);
    *status = WIFSIGNALED(how) ? 128 + WTERMSIG(how) : WEXITSTATUS(how);
    return TRUE;
}

static gboolean
start_and_attend(Running *running, GError **error)
{
    const VarveStage *stage = running->stage;
    return (running->terminal == NULL || varve_terminal_begin(running->terminal, error)) &&
           varve_runtime_do(stage->bundle, stage->runtime, "start", NULL, error) &&
           attend(running, error);
}

/* --- from the creation to the end --------------------------------------------------------- */

/* What is created is ended here, by itself or by force, and waited for. */
static gboolean
live(const VarveStage *stage, const char *root_path, int signals, int *status, GError **error)
{
    g_autoptr(VarveTerminal) terminal = NULL;
    Running running = {.stage = stage, .signals = signals};
    if (stage->options->terminal) {
        terminal = running.terminal = varve_terminal_new(stage->bundle, error);
        if (terminal == NULL)
            return FALSE;
    }
    gboolean created = varve_runtime_create(stage->bundle, stage->runtime,
                                            terminal != NULL ? VARVE_CONSOLE_SOCKET : NULL,
                                            &running.pid, status, error);
    (void)umount2(root_path, MNT_DETACH | UMOUNT_NOFOLLOW); /* the container has its own by now */
    gboolean ended = created && start_and_attend(&running, error);
    g_autoptr(GError) failure = NULL;
    gboolean deleted = varve_runtime_delete(stage->bundle, stage->runtime, &failure);
    if (ended)
        return take_status(running.pid, status, error) &&
               (deleted || (g_propagate_error(error, g_steal_pointer(&failure)), FALSE));
    if (created && deleted)
        (void)waitpid(running.pid, NULL, 0);
    return FALSE;
}

static gboolean
adopt_and_live(const VarveStage *stage, const char *root_path, int *status, GError **error)
{
    int signals = varve_signals_take(error), before = 0;
    if (signals < 0)
        return FALSE;
    (void)prctl(PR_GET_CHILD_SUBREAPER, &before);
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    gboolean done = live(stage, root_path, signals, status, error);
    (void)prctl(PR_SET_CHILD_SUBREAPER, before);
    varve_signals_release();
    return done;
}

static gboolean
run_in_namespace(const VarveStage *stage, int *status, GError **error)
{
    g_autofree char *root_path = g_build_filename(stage->bundle->path, "rootfs", NULL);
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0)
        return varve_error_set_errno(error, errno, "making a mount namespace");
    if (mkdirat(stage->bundle->fd, "rootfs", 0700) < 0)
        return varve_error_set_errno(error, errno, "making directory %s", root_path);
    if (!varve_mount_attach(stage->mount, root_path, error))
        return FALSE;
    if (write_bundle(stage, root_path, error))
        return adopt_and_live(stage, root_path, status, error);
    (void)umount2(root_path, MNT_DETACH | UMOUNT_NOFOLLOW);
    return FALSE;
}

/* --- the thread --------------------------------------------------------------------------- */

typedef struct {
    const VarveStage *stage;
    int status;
    gboolean done;
    GError *error;
} Play;

static gpointer
play(gpointer data)
{
    Play *p = data;
    p->done = run_in_namespace(p->stage, &p->status, &p->error);
    return NULL;
}

gboolean
varve_stage_run(const VarveStage *stage, int *status, GError **error)
{
    Play p = {.stage = stage, .status = 125};
    g_autoptr(GError) why = NULL;
    GThread *thread = g_thread_try_new("varve-container", play, &p, &why);
    if (thread == NULL)
        return varve_error_set(error, VARVE_ERROR_UNAVAILABLE, "%s", why->message);
    g_thread_join(thread);
    *status = p.status;
    if (p.error != NULL)
        g_propagate_error(error, p.error);
    /* cppcheck-suppress memleak ; joining frees it */
    return p.done;
}
