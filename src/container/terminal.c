/* SPDX-License-Identifier: Apache-2.0 */
#include "container/internal.h"
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

/*
 * The runtime makes a terminal in the container and sends its other end to a socket of ours
 * (https://github.com/opencontainers/runc/blob/v1.1.5/docs/terminals.md). What is typed goes there,
 * what comes from there is shown; the caller's terminal passes every key on and echoes none.
 */

struct VarveTerminal {
    int listener, master;
    gboolean raw;
    struct termios before;
    char typed[4096]; /* what the container has not taken yet */
    gsize n_typed;
    gboolean ended; /* no more is typed */
};

/* --- getting it --------------------------------------------------------------------------- */

VarveTerminal *
varve_terminal_new(const VarveBundle *bundle, GError **error)
{
    g_autoptr(VarveTerminal) terminal = g_new0(VarveTerminal, 1);
    terminal->listener = terminal->master = -1;
    if (tcgetattr(STDIN_FILENO, &terminal->before) < 0) {
        varve_error_set(error, VARVE_ERROR_FAILED_PRECONDITION,
                        "a terminal is wished for, but standard input is none");
        return NULL;
    }
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", bundle->fd,
                   VARVE_CONSOLE_SOCKET);
    terminal->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (terminal->listener < 0 ||
        bind(terminal->listener, (const struct sockaddr *)&address, sizeof address) < 0 ||
        listen(terminal->listener, 1) < 0) {
        varve_error_set_errno(error, errno, "listening for the container's terminal");
        return NULL;
    }
    return g_steal_pointer(&terminal);
}

/* One descriptor, with any text beside it. */
static int
receive_descriptor(int connection)
{
    char text[256];
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec part = {text, sizeof text};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof control};
    int fd = -1;
    if (recvmsg(connection, &message, MSG_CMSG_CLOEXEC) < 0)
        return -1;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int)))
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
    return fd;
}

gboolean
varve_terminal_begin(VarveTerminal *terminal, GError **error)
{
    /* cppcheck-suppress nullPointer ; accept4(2) takes NULL for no address */
    varve_autofd connection = accept4(terminal->listener, NULL, NULL, SOCK_CLOEXEC);
    terminal->master = connection < 0 ? -1 : receive_descriptor(connection);
    if (terminal->master < 0 || !isatty(terminal->master))
        return varve_error_set(error, VARVE_ERROR_INTERNAL, "the runtime sent no terminal");
    (void)fcntl(terminal->master, F_SETFL, O_NONBLOCK);
    varve_terminal_resize(terminal);
    varve_terminal_resume(terminal);
    return TRUE;
}

/* --- the caller's ------------------------------------------------------------------------- */

void
varve_terminal_resize(VarveTerminal *terminal)
{
    struct winsize size;
    if (ioctl(STDIN_FILENO, TIOCGWINSZ, &size) == 0)
        (void)ioctl(terminal->master, TIOCSWINSZ, &size);
}

void
varve_terminal_resume(VarveTerminal *terminal)
{
    struct termios raw = terminal->before;
    cfmakeraw(&raw);
    terminal->raw = tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

void
varve_terminal_pause(VarveTerminal *terminal)
{
    if (terminal->raw)
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &terminal->before);
    terminal->raw = FALSE;
}

void
varve_terminal_free(VarveTerminal *terminal)
{
    if (terminal == NULL)
        return;
    varve_terminal_pause(terminal);
    varve_fd_clear(&terminal->listener);
    varve_fd_clear(&terminal->master);
    g_free(terminal);
}

/* --- copying ------------------------------------------------------------------------------ */

void
varve_terminal_poll(const VarveTerminal *terminal, struct pollfd *polls)
{
    gboolean reads = terminal->n_typed == 0 && !terminal->ended;
    polls[0] = (struct pollfd){.fd = reads ? STDIN_FILENO : -1, .events = POLLIN};
    polls[1] = (struct pollfd){.fd = terminal->master,
                               .events = (short)(POLLIN | (terminal->n_typed > 0 ? POLLOUT : 0))};
}

static void
take_typed(VarveTerminal *terminal)
{
    gssize n = read(STDIN_FILENO, terminal->typed, sizeof terminal->typed);
    if (n > 0)
        terminal->n_typed = (gsize)n;
    else if (n == 0 || (errno != EINTR && errno != EAGAIN))
        terminal->ended = TRUE;
}

static void
give_typed(VarveTerminal *terminal)
{
    gssize n = write(terminal->master, terminal->typed, terminal->n_typed);
    if (n > 0) {
        terminal->n_typed -= (gsize)n;
        memmove(terminal->typed, terminal->typed + n, terminal->n_typed);
    }
}

/* Shows some of what the container wrote; FALSE when there is nothing now, or nothing more. What
 * cannot be shown is lost, as with any terminal that went away. */
static gboolean
show(VarveTerminal *terminal)
{
    char text[16384];
    gssize n = read(terminal->master, text, sizeof text);
    for (gssize done = 0; done < n;) {
        gssize written = write(STDOUT_FILENO, text + done, (gsize)(n - done));
        if (written < 0 && errno == EAGAIN)
            (void)poll(&(struct pollfd){.fd = STDOUT_FILENO, .events = POLLOUT}, 1, -1);
        else if (written < 0 && errno != EINTR)
            break;
        done += MAX(written, 0);
    }
    return n > 0;
}

void
varve_terminal_copy(VarveTerminal *terminal, const struct pollfd *polls)
{
    if (polls[0].revents != 0)
        take_typed(terminal);
    if (terminal->n_typed > 0)
        give_typed(terminal);
    if ((polls[1].revents & POLLIN) != 0)
        (void)show(terminal);
    else if ((polls[1].revents & (POLLHUP | POLLERR)) != 0)
        g_usleep(G_USEC_PER_SEC / 100); /* nobody has it open just now; somebody may again */
}

void
varve_terminal_drain(VarveTerminal *terminal)
{
    while (show(terminal))
        ;
}
