/* SPDX-License-Identifier: Apache-2.0 */
#include "rpc/http-client-internal.h"
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#define POLL_MS 100

/* Before its answer begins a peer may have much to do: take a snapshot by copying, sync what it was
 * sent, read again what was sent before. One that is gone is noticed by TCP meanwhile. */
#define WORK_FACTOR 20

/* --- libcurl's callbacks ---------------------------------------------------------------------- */

static size_t
on_header(char *bytes, size_t size, size_t n, void *data)
{
    VarveHttpClient *client = data;
    client->head += n;
    if (client->head > VARVE_HTTP_MAX_HEAD) {
        client->refused = "the head of its answer is too long";
        return 0;
    }
    if (n > 2 || bytes[0] == ' ')
        return n; /* an empty line ends it */
    long status = 0;
    curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &status);
    client->status = status >= 200 ? status : 0;
    return n;
}

static size_t
on_body(char *bytes, size_t size, size_t n, void *data)
{
    VarveHttpClient *client = data;
    gboolean good = client->status / 100 == 2;
    gsize limit = good ? client->in_limit : VARVE_HTTP_MAX_ERROR;
    gsize waiting = client->in->len - client->in_read;
    if (waiting + n > limit && !good)
        return n; /* what came of an error suffices */
    if (waiting + n > limit && client->collect) {
        client->refused = "its answer is too long";
        return CURL_WRITEFUNC_ERROR;
    }
    if (waiting > 0 && waiting + n > limit) {
        client->paused_in = TRUE;
        return CURL_WRITEFUNC_PAUSE; /* and all of this comes again */
    }
    client->moved += n;
    g_byte_array_append(client->in, (const guint8 *)bytes, (guint)n);
    return n;
}

static size_t
on_send(char *buffer, size_t size, size_t n, void *data)
{
    VarveHttpClient *client = data;
    gsize part = MIN(client->out_left, size * n);
    if (part == 0) {
        client->paused_out = !client->out_end;
        return client->out_end ? 0 : CURL_READFUNC_PAUSE;
    }
    memcpy(buffer, client->out, part);
    client->out += part;
    client->out_left -= part;
    client->moved += part;
    return part;
}

/* A peer that is gone, or is not reached any more, while it is waited for or sent to. */
static int
on_socket(void *data, curl_socket_t fd, curlsocktype purpose)
{
    const VarveHttpClient *client = data;
    unsigned int ms = client->peer.idle_seconds * 1000;
    if (client->peer.address[0] != '/')
        (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof(ms));
    return CURL_SOCKOPT_OK;
}

/* --- an exchange ------------------------------------------------------------------------------ */

static void
set_callbacks(VarveHttpClient *client)
{
    CURL *easy = client->easy;
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, client->errors);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, client);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, client);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_socket);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTDATA, client);
    if (client->uploading) {
        curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_send);
        curl_easy_setopt(easy, CURLOPT_READDATA, client);
    }
}

void
varve_http_client_start(VarveHttpClient *client)
{
    set_callbacks(client);
    curl_easy_setopt(client->easy, CURLOPT_HTTPHEADER, client->headers);
    curl_multi_add_handle(client->multi, client->easy);
    client->active = TRUE;
}

void
varve_http_client_stop(VarveHttpClient *client)
{
    if (client->active)
        curl_multi_remove_handle(client->multi, client->easy);
    curl_easy_reset(client->easy);
    for (struct curl_slist *item = client->headers; item != NULL; item = item->next)
        explicit_bzero(item->data, strlen(item->data)); /* the token is among them */
    curl_slist_free_all(client->headers);
    client->headers = NULL;
    free(client->sent_json);
    client->sent_json = NULL;
    g_byte_array_set_size(client->in, 0);
    client->in_read = 0;
    client->active = client->ended = client->collect = client->uploading = FALSE;
    client->paused_in = client->paused_out = client->out_end = FALSE;
    client->result = CURLE_OK;
    client->status = 0;
    client->head = client->out_left = 0;
    client->refused = client->out = NULL;
    client->errors[0] = '\0';
}

/* --- driving ---------------------------------------------------------------------------------- */

/* What waits on our side can go on. */
static void
unpause(VarveHttpClient *client)
{
    gboolean more_out = client->paused_out && (client->out_left > 0 || client->out_end);
    gboolean more_in = client->paused_in && client->in->len == client->in_read;
    if (!more_out && !more_in)
        return;
    client->paused_out = client->paused_out && !more_out;
    client->paused_in = client->paused_in && !more_in;
    curl_easy_pause(client->easy, (client->paused_in ? CURLPAUSE_RECV : 0) |
                                      (client->paused_out ? CURLPAUSE_SEND : 0));
}

static void
take_end(VarveHttpClient *client)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(client->multi, &left)) != NULL;) {
        if (message->msg != CURLMSG_DONE)
            continue;
        client->ended = TRUE;
        client->result = message->data.result;
    }
}

static gboolean
is_waiting_for_answer(const VarveHttpClient *client)
{
    return client->status == 0 && (!client->uploading || client->out_end);
}

static gboolean
stands_still(const VarveHttpClient *client, guint64 *moved, gint64 *since)
{
    gint64 now = g_get_monotonic_time();
    gint64 limit = (gint64)client->peer.idle_seconds * G_USEC_PER_SEC;
    if (client->moved + client->head != *moved) {
        *moved = client->moved + client->head;
        *since = now;
    }
    return now - *since > (is_waiting_for_answer(client) ? limit * WORK_FACTOR : limit);
}

gboolean
varve_http_client_drive(VarveHttpClient *client, gboolean (*until)(const VarveHttpClient *client),
                        GError **error)
{
    guint64 moved = client->moved + client->head;
    gint64 since = g_get_monotonic_time();
    unpause(client);
    for (;;) {
        int running = 0;
        curl_multi_perform(client->multi, &running);
        take_end(client);
        if (client->ended || until(client))
            return TRUE;
        if (!varve_check_cancelled(client->cancelled, error))
            return FALSE;
        if (stands_still(client, &moved, &since))
            return varve_error_set(error, VARVE_ERROR_UNAVAILABLE,
                                   "host '%s': nothing came or went for %u s", client->peer.name,
                                   client->peer.idle_seconds);
        curl_multi_poll(client->multi, NULL, 0, POLL_MS, NULL);
    }
}
