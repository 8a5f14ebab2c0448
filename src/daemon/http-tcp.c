/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/http-tcp.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static gboolean
is_local(const struct sockaddr *address)
{
    if (address->sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
    return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static int
listen_at(const struct addrinfo *at)
{
    int one = 1, fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, at->ai_addr, at->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    int errnum = errno;
    close(fd);
    errno = errnum;
    return -1;
}

/* The host and port of "10.0.0.5:7443" or "[::1]:7443". NULL: it is neither. */
static struct addrinfo *
parse_address(const char *address)
{
    static const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                                          .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon == address)
        return NULL;
    g_autofree char *host = g_strndup(address, (gsize)(colon - address));
    gsize length = strlen(host);
    gboolean brackets = host[0] == '[' && host[length - 1] == ']';
    if (brackets)
        host[length - 1] = '\0';
    else if (strchr(host, ':') != NULL)
        return NULL;
    return getaddrinfo(brackets ? host + 1 : host, colon + 1, &hints, &found) == 0 ? found : NULL;
}

int
varve_http_tcp_listen(const char *address, gboolean *local, GError **error)
{
    struct addrinfo *at = parse_address(address);
    if (at == NULL) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                    "'%s' is no address such as 10.0.0.5:7443 or [::1]:7443", address);
        return -1;
    }
    *local = is_local(at->ai_addr);
    int fd = listen_at(at);
    if (fd < 0)
        g_set_error(error, VARVE_ERROR,
                    errno == EADDRINUSE ? VARVE_ERROR_ALREADY_EXISTS
                                        : VARVE_ERROR_FAILED_PRECONDITION,
                    "listening at %s: %s", address, g_strerror(errno));
    freeaddrinfo(at);
    return fd;
}
