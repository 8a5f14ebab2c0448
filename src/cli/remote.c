/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/remote.h"
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define MAX_JOBS     64
#define MAX_PASSWORD 65536 /* bytes of the file that has it; tokens can be long */

struct CliRemoteOptions cli_remote_options = {.retries = -1};
#define option cli_remote_options

/* --- credentials --------------------------------------------------------------------------- */

static void
secret_free(char *secret)
{
    if (secret != NULL)
        explicit_bzero(secret, strlen(secret));
    g_free(secret);
}

static gboolean
open_password_file(int *fd, GError **error)
{
    gboolean standard = g_str_equal(option.password_file, "-");
    *fd = standard ? dup(STDIN_FILENO) : open(option.password_file, O_RDONLY | O_CLOEXEC);
    return *fd >= 0 || cli_usage_error(error, "--password-file '%s' cannot be opened: %s",
                                       option.password_file, g_strerror(errno));
}

/* The first line of the file. */
static gboolean
read_password(char **password, GError **error)
{
    int fd;
    gsize size = 0;
    ssize_t n = 1;
    if (!open_password_file(&fd, error))
        return FALSE;
    char *text = g_malloc0(MAX_PASSWORD + 1);
    while (n > 0 && size < MAX_PASSWORD) {
        n = read(fd, text + size, MAX_PASSWORD - size);
        size += n > 0 ? (gsize)n : 0;
    }
    close(fd);
    text[strcspn(text, "\r\n")] = '\0';
    if (n == 0 && *text != '\0') {
        *password = text;
        return TRUE;
    }
    secret_free(text);
    return cli_usage_error(error, "--password-file '%s' has no password in its first line",
                           option.password_file);
}

static gboolean
read_credentials(char **user, char **password, GError **error)
{
    const char *colon = option.creds != NULL ? strchr(option.creds, ':') : NULL;
    if (option.creds == NULL)
        return option.password_file == NULL ||
               cli_usage_error(error, "--password-file needs --creds USER");
    if (colon != NULL && option.password_file != NULL)
        return cli_usage_error(error, "--creds has a password, and so has --password-file");
    if (colon == NULL && option.password_file == NULL)
        return cli_usage_error(error, "--creds has no password: --password-file says where it is");
    *user = colon != NULL ? g_strndup(option.creds, (gsize)(colon - option.creds))
                          : g_strdup(option.creds);
    if (colon == NULL)
        return read_password(password, error);
    *password = g_strdup(colon + 1);
    return TRUE;
}

/* --- all of them ------------------------------------------------------------------------------ */

void
cli_remote_clear(CliRemote *remote)
{
    g_free(remote->user);
    secret_free(remote->password);
}

gboolean
cli_remote_read(CliRemote *remote, GError **error)
{
    if (option.jobs < 0 || option.jobs > MAX_JOBS)
        return cli_usage_error(error, "--jobs is a number from 1 to %d", MAX_JOBS);
    if (option.retries < -1)
        return cli_usage_error(error, "--retries is 0 or more");
    if (!read_credentials(&remote->user, &remote->password, error))
        return FALSE;
    remote->remote = (VarveImageRemote){
        .plain_http = option.plain_http,
        .ca_file = option.ca,
        .certificates_dir = option.certs,
        .username = remote->user,
        .password = remote->password,
        .auth_file = option.auth_file,
        .mirrors = (const char *const *)option.mirrors,
        .jobs = (guint)option.jobs,
        .retries = option.retries == 0 ? -1 : MAX(option.retries, 0),
    };
    return TRUE;
}
