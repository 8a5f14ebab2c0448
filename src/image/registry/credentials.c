/* SPDX-License-Identifier: Apache-2.0 */
/* Where credentials come from: the settings, else Docker's configuration or a helper that it names.
 */
#include "base/fd.h"
#include "image/registry/internal.h"
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_CONFIG (1024 * 1024)

/* Under which names the Hub stands in configurations; the first is what helpers know. */
static const char *const hub_names[] = {"https://index.docker.io/v1/", "index.docker.io",
                                        "docker.io", "registry-1.docker.io", NULL};

static char *
config_path(const VarveRegistry *registry)
{
    const char *file = g_getenv("REGISTRY_AUTH_FILE"), *directory = g_getenv("DOCKER_CONFIG");
    if (registry->auth_file != NULL)
        return g_strdup(registry->auth_file);
    if (file != NULL && file[0] != '\0')
        return g_strdup(file);
    if (directory != NULL && directory[0] != '\0')
        return g_build_filename(directory, "config.json", NULL);
    return g_build_filename(g_get_home_dir(), ".docker", "config.json", NULL);
}

/* Reads a file of at most MAX_CONFIG bytes into *text. A missing one is TRUE with NULL. */
static gboolean
read_config(const char *path, char **text, gsize *n, GError **error)
{
    *text = NULL;
    varve_autofd fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return TRUE;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return varve_error_set_errno(error, errno, "opening it");
    if (!S_ISREG(st.st_mode) || st.st_size > MAX_CONFIG)
        return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT,
                               "it is no file, or larger than %d KiB", MAX_CONFIG / 1024);
    char *bytes = g_malloc0((gsize)st.st_size + 1);
    gssize got = pread(fd, bytes, (gsize)st.st_size, 0);
    if (got < 0) {
        g_free(bytes);
        return varve_error_set_errno(error, errno, "reading it");
    }
    *text = bytes;
    *n = (gsize)got;
    return TRUE;
}

static VarveRegistryCredentials *
of_settings(const VarveRegistryEndpoint *endpoint)
{
    VarveRegistryCredentials *credentials = g_new0(VarveRegistryCredentials, 1);
    credentials->username = g_strdup(endpoint->username);
    credentials->password = g_strdup(endpoint->password);
    credentials->from = g_strdup("the settings");
    return credentials;
}

static gboolean
of_config(const char *path, const char *const *hosts, const char *repository, const gint *cancelled,
          VarveRegistryCredentials **credentials, GError **error)
{
    char *text;
    g_autofree char *helper = NULL, *server = NULL;
    gsize n = 0;
    *credentials = NULL;
    if (!read_config(path, &text, &n, error))
        return FALSE;
    if (text == NULL)
        return TRUE;
    gboolean good = varve_registry_config_parse(text, n, hosts, repository, &helper, &server,
                                                credentials, error);
    explicit_bzero(text, n);
    g_free(text);
    if (!good)
        return FALSE;
    if (helper == NULL) {
        if (*credentials != NULL)
            (*credentials)->from = g_strdup(path);
        return TRUE;
    }
    g_autoptr(GError) problem = NULL;
    *credentials = varve_registry_helper_ask(helper, server, cancelled, &problem);
    if (*credentials != NULL)
        (*credentials)->from = g_strdup_printf("docker-credential-%s", helper);
    if (problem == NULL)
        return TRUE;
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}

static char *
describe(const VarveRegistryCredentials *credentials, const char *host, const char *path)
{
    if (credentials == NULL)
        return g_strdup_printf("none; there are none for '%s' in %s", host, path);
    g_autofree char *user =
        credentials->username != NULL ? varve_registry_text_clean(credentials->username, -1) : NULL;
    if (user == NULL)
        return g_strdup_printf("the token of %s", credentials->from);
    return g_strdup_printf("user '%s' of %s", user, credentials->from);
}

VarveRegistryCredentials *
varve_registry_credentials(VarveRegistry *registry, const VarveRegistryEndpoint *endpoint,
                           const char *repository, const gint *cancelled, char **tried,
                           GError **error)
{
    gboolean hub = !endpoint->mirror && g_str_equal(endpoint->registry, "docker.io");
    const char *own[] = {endpoint->authority, NULL};
    g_autofree char *path = config_path(registry);
    g_autoptr(VarveRegistryCredentials) credentials = NULL;
    if (endpoint->username != NULL) {
        credentials = of_settings(endpoint);
    } else if (!of_config(path, hub ? hub_names : own, repository, cancelled, &credentials,
                          error)) {
        g_prefix_error(error, "finding credentials in '%s': ", path);
        return NULL;
    }
    g_free(*tried);
    *tried = describe(credentials, hub ? endpoint->registry : endpoint->authority, path);
    return g_steal_pointer(&credentials);
}
