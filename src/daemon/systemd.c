/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/systemd.h"

#ifdef HAVE_SYSTEMD

#include <sys/socket.h>
#include <systemd/sd-daemon.h>

gboolean
varve_systemd_listeners(GArray **fds, GError **error)
{
    g_autoptr(GArray) result = g_array_new(FALSE, FALSE, sizeof(int));
    int n = sd_listen_fds(TRUE);
    for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + n; fd++) {
        if (sd_is_socket_unix(fd, SOCK_STREAM, TRUE, NULL, 0) <= 0) {
            g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                        "descriptor %d from systemd is not a listening unix stream socket", fd);
            return FALSE;
        }
        g_array_append_val(result, fd);
    }
    *fds = g_steal_pointer(&result);
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
varve_systemd_listeners(GArray **fds, GError **error)
{
    *fds = g_array_new(FALSE, FALSE, sizeof(int));
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
