/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/systemd.h"

#ifdef HAVE_SYSTEMD

#include <sys/socket.h>
#include <systemd/sd-daemon.h>

gboolean
varve_systemd_listeners(GArray **fds, GArray **http, GError **error)
{
    g_autoptr(GArray) grpc_fds = g_array_new(FALSE, FALSE, sizeof(int));
    g_autoptr(GArray) http_fds = g_array_new(FALSE, FALSE, sizeof(int));
    g_auto(GStrv) names = NULL;
    int n = sd_listen_fds_with_names(TRUE, &names);
    for (int i = 0; i < n; i++) {
        int fd = SD_LISTEN_FDS_START + i;
        if (sd_is_socket_unix(fd, SOCK_STREAM, TRUE, NULL, 0) <= 0) {
            g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                        "descriptor %d from systemd is not a listening unix stream socket", fd);
            return FALSE;
        }
        gboolean is_http = g_str_has_prefix(names[i], "varved-http");
        g_array_append_val(is_http ? http_fds : grpc_fds, fd);
    }
    *fds = g_steal_pointer(&grpc_fds);
    *http = g_steal_pointer(&http_fds);
    return TRUE;
}

void
varve_systemd_ready(void)
{
    sd_notify(FALSE, "READY=1");
}

/* The time lets units of Type=notify-reload tell this reload from an earlier one. */
void
varve_systemd_reloading(void)
{
    sd_notifyf(FALSE, "RELOADING=1\nMONOTONIC_USEC=%" G_GINT64_FORMAT, g_get_monotonic_time());
}

void
varve_systemd_stopping(void)
{
    sd_notify(FALSE, "STOPPING=1");
}

#else

gboolean
varve_systemd_listeners(GArray **fds, GArray **http, GError **error)
{
    *fds = g_array_new(FALSE, FALSE, sizeof(int));
    *http = g_array_new(FALSE, FALSE, sizeof(int));
    return TRUE;
}

void
varve_systemd_ready(void)
{
}

void
varve_systemd_reloading(void)
{
}

void
varve_systemd_stopping(void)
{
}

#endif
