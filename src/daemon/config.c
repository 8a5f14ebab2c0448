/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config.h"
#include <string.h>

#define MAX_WORKERS 1024
#define MAX_SECONDS 3600

/* --- the settings of [varved], [diff], [http] and [docker] ---------------------------------- */

static gboolean
parse_path(const char *value, gpointer field, GError **error)
{
    if (!g_path_is_absolute(value)) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                    "'%s' is not an absolute path", value);
        return FALSE;
    }
    g_free(*(char **)field);
    *(char **)field = g_strdup(value);
    return TRUE;
}

/* Empty is none. Whether there is such a pool or group shows when it is needed. */
static gboolean
parse_name(const char *value, gpointer field, GError **error)
{
    g_free(*(char **)field);
    *(char **)field = *value == '\0' ? NULL : g_strdup(value);
    return TRUE;
}

/* Empty is none. */
static gboolean
parse_optional_path(const char *value, gpointer field, GError **error)
{
    return *value == '\0' ? parse_name(value, field, error) : parse_path(value, field, error);
}

/* "auto" is none told. */
static gboolean
parse_socket(const char *value, gpointer field, GError **error)
{
    if (g_str_equal(value, "auto"))
        return parse_name("", field, error);
    return g_str_equal(value, "none") ? parse_name(value, field, error)
                                      : parse_path(value, field, error);
}

static gboolean
parse_level(const char *value, gpointer field, GError **error)
{
    return varve_log_level_parse(value, field, error);
}

static gboolean
parse_number(const char *value, guint most, gpointer field, GError **error)
{
    guint64 number = 0;
    if (!g_ascii_string_to_unsigned(value, 10, 1, most, &number, NULL)) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                    "'%s' is not a number from 1 to %u", value, most);
        return FALSE;
    }
    *(guint *)field = (guint)number;
    return TRUE;
}

static gboolean
parse_workers(const char *value, gpointer field, GError **error)
{
    return parse_number(value, MAX_WORKERS, field, error);
}

static gboolean
parse_seconds(const char *value, gpointer field, GError **error)
{
    return parse_number(value, MAX_SECONDS, field, error);
}

/* The one table of them: the parser, the defaults and `varved --help-config` all come from here. */
static const struct {
    const char *section, *name;
    gboolean (*parse)(const char *value, gpointer field, GError **error);
    gsize offset;
    const char *fallback; /* "": none */
    const char *summary;
} settings[] = {
    {"varved", "root", parse_path, G_STRUCT_OFFSET(VarveConfig, root), "/var/lib/varve",
     "The directory that holds the store and, unless a pool says otherwise, the pools. A change "
     "needs a restart."},
    {"varved", "socket", parse_path, G_STRUCT_OFFSET(VarveConfig, socket), "/run/varve/varved.sock",
     "The unix socket to listen on. Not used when systemd hands over the socket. A change needs a "
     "restart."},
    {"varved", "socket-group", parse_name, G_STRUCT_OFFSET(VarveConfig, socket_group), "",
     "Members of this group, by name or number, may use the socket too; without it only root may. "
     "Who may use the socket is as good as root. A change needs a restart."},
    {"varved", "fallback-pool", parse_name, G_STRUCT_OFFSET(VarveConfig, fallback_pool), "",
     "The pool that answers for a snapshotter name that is no pool's, and for an empty one. "
     "Without it an unknown name is refused, and an empty one means the pool that varve(8) would "
     "take."},
    {"varved", "log-level", parse_level, G_STRUCT_OFFSET(VarveConfig, log_level), "info",
     "What to log: error, warning, info or debug, each with those before it."},
    {"varved", "workers", parse_workers, G_STRUCT_OFFSET(VarveConfig, workers), "64",
     "How many calls may work at the same time, 1 to 1024; more wait. A change needs a restart."},
    {"diff", "content", parse_optional_path, G_STRUCT_OFFSET(VarveConfig, diff_content), "",
     "containerd's content store, from which layers are read straight; by default that is "
     "/var/lib/containerd/io.containerd.content.v1.content. A change needs a restart."},
    {"diff", "containerd", parse_optional_path, G_STRUCT_OFFSET(VarveConfig, diff_containerd), "",
     "containerd's socket, whose content service new layers are written to, and layers are read "
     "from where content is not set. A change needs a restart."},
    {"http", "socket", parse_socket, G_STRUCT_OFFSET(VarveConfig, http_socket), "auto",
     "The unix socket of the HTTP API. auto: beside the other one, which has -http before its "
     ".sock: /run/varve/varved-http.sock. none: there is none. Not used when systemd hands over "
     "that socket. A change needs a restart."},
    {"http", "socket-group", parse_name, G_STRUCT_OFFSET(VarveConfig, http_socket_group), "",
     "Members of this group may use that socket too, which is as good as being root. A change "
     "needs a restart."},
    {"http", "listen", parse_name, G_STRUCT_OFFSET(VarveConfig, http_listen), "",
     "The TCP address for other hosts, such as 10.0.0.5:7443 or [::]:7443. Who connects must show "
     "a client certificate or a token; without certificate and key, which is without TLS, only "
     "127.0.0.1 and [::1] are taken. A change needs a restart."},
    {"http", "certificate", parse_optional_path, G_STRUCT_OFFSET(VarveConfig, http_certificate), "",
     "The server's certificate, with those between it and its authority, in PEM. A change needs a "
     "restart."},
    {"http", "key", parse_optional_path, G_STRUCT_OFFSET(VarveConfig, http_key), "",
     "Its private key, in PEM, readable by nobody else. A change needs a restart."},
    {"http", "client-ca", parse_optional_path, G_STRUCT_OFFSET(VarveConfig, http_client_ca), "",
     "The authorities, in PEM, of which a client's certificate lets it in. A change needs a "
     "restart."},
    {"http", "tokens", parse_optional_path, G_STRUCT_OFFSET(VarveConfig, http_tokens), "",
     "A file of tokens that let clients in, one a line, of at least 16 characters, and after it "
     "perhaps the time at which it ends (2027-01-31T00:00:00Z); readable by nobody else. It is "
     "read "
     "again when it changes."},
    {"http", "timeout", parse_seconds, G_STRUCT_OFFSET(VarveConfig, http_timeout), "60",
     "Seconds in which a client must send or take something, 1 to 3600; else its connection is "
     "cut. A "
     "change needs a restart."},
    {"docker", "socket", parse_optional_path, G_STRUCT_OFFSET(VarveConfig, docker_socket), "",
     "The unix socket on which docker and podman find volumes, for root only; docker looks for it "
     "at /run/docker/plugins/varve.sock. A change needs a restart."},
};

/* How many characters to insert, delete or replace to make b of a. */
static guint
distance(const char *a, const char *b)
{
    gsize length = strlen(b);
    g_autofree guint *row = g_new(guint, length + 1);
    for (gsize j = 0; j <= length; j++)
        row[j] = (guint)j;
    for (gsize i = 1; a[i - 1] != '\0'; i++) {
        guint diagonal = row[0];
        row[0] = (guint)i;
        for (gsize j = 1; j <= length; j++) {
            guint replace = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = MIN(replace, MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[length];
}

static gboolean
unknown_setting(const char *section, const char *name, GError **error)
{
    const char *nearest = NULL;
    guint least = 4; /* what is further off was not meant */
    g_autoptr(GString) all = g_string_new(NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(settings); i++) {
        if (!g_str_equal(section, settings[i].section))
            continue;
        guint off = distance(name, settings[i].name);
        if (off < least) {
            least = off;
            nearest = settings[i].name;
        }
        g_string_append_printf(all, "%s%s", all->len > 0 ? ", " : "", settings[i].name);
    }
    if (nearest != NULL)
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                    "unknown setting '%s' in [%s]: did you mean '%s'?", name, section, nearest);
    else
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                    "unknown setting '%s' in [%s]: there are %s", name, section, all->str);
    return FALSE;
}

static gboolean
set_in_section(VarveConfig *config, const char *section, const char *name, const char *value,
               GError **error)
{
    for (gsize i = 0; i < G_N_ELEMENTS(settings); i++) {
        if (!g_str_equal(section, settings[i].section) || !g_str_equal(name, settings[i].name))
            continue;
        if (settings[i].parse(value, G_STRUCT_MEMBER_P(config, settings[i].offset), error))
            return TRUE;
        g_prefix_error(error, "setting '%s': ", name);
        return FALSE;
    }
    return unknown_setting(section, name, error);
}

gboolean
varve_config_set(VarveConfig *config, const char *name, const char *value, GError **error)
{
    return set_in_section(config, "varved", name, value, error);
}

void
varve_config_describe_text(GString *text, const char *words)
{
    g_auto(GStrv) list = g_strsplit(words, " ", -1);
    gsize column = 0;
    for (char **word = list; *word != NULL; word++) {
        gsize length = strlen(*word);
        if (column > 0 && column + 1 + length > 100) {
            g_string_append_c(text, '\n');
            column = 0;
        }
        g_string_append_printf(text, "%s%s", column > 0 ? " " : "# ", *word);
        column += length + (column > 0 ? 1 : 2);
    }
    g_string_append_c(text, '\n');
}

/* The sections, and what is said before them. */
static const struct {
    const char *name, *summary;
} sections[] = {
    {"varved", NULL},
    {"diff", "What containerd's diff service needs: it is there when one of these is set."},
    {"http", "The HTTP API, for volumes, pools and images; see docs/http-api.md."},
    {"docker", "Volumes for docker and podman, by their protocol for plugins; see docs/podman.md. "
               "It is there when its socket is set."},
};

/* NULL: it is none of them. */
static const char *
find_section(const char *name)
{
    for (gsize i = 0; i < G_N_ELEMENTS(sections); i++) {
        if (g_str_equal(name, sections[i].name))
            return sections[i].name;
    }
    return NULL;
}

static void
describe_section(GString *text, const char *name)
{
    for (gsize i = 0; i < G_N_ELEMENTS(sections); i++) {
        if (!g_str_equal(name, sections[i].name))
            continue;
        if (i > 0)
            g_string_append_c(text, '\n');
        if (sections[i].summary != NULL)
            varve_config_describe_text(text, sections[i].summary);
        g_string_append_printf(text, "[%s]\n", name);
    }
}

void
varve_config_describe(GString *text)
{
    const char *section = NULL;
    for (gsize i = 0; i < G_N_ELEMENTS(settings); i++) {
        const char *fallback = settings[i].fallback;
        if (g_strcmp0(section, settings[i].section) != 0)
            describe_section(text, section = settings[i].section);
        g_string_append_c(text, '\n');
        varve_config_describe_text(text, settings[i].summary);
        g_string_append_printf(text, "#%s =%s%s\n", settings[i].name, *fallback ? " " : "",
                               fallback);
    }
}

void
varve_config_describe_hosts(GString *text)
{
    g_string_append_c(text, '\n');
    varve_config_describe_text(
        text, "Another host that runs varved, from which volumes are pulled and to which they are "
              "replicated, by this name; any number of them.");
    g_string_append(text, "#[host NAME]\n");
    for (const VarveHostSetting *setting = varve_host_settings; setting->name != NULL; setting++) {
        g_string_append(text, "#\n");
        varve_config_describe_text(text, setting->summary);
        g_string_append_printf(text, "#%s =%s%s\n", setting->name,
                               *setting->fallback != '\0' ? " " : "", setting->fallback);
    }
}

/* --- the structures ------------------------------------------------------------------------- */

static void
clear_setting(gpointer data)
{
    VarveConfigSetting *setting = data;
    g_free(setting->name);
    g_free(setting->value);
}

static void
free_pool(gpointer data)
{
    VarveConfigPool *pool = data;
    g_free(pool->name);
    g_free(pool->driver);
    g_array_unref(pool->settings);
    g_free(pool);
}

VarveConfig *
varve_config_new(void)
{
    VarveConfig *config = g_new0(VarveConfig, 1);
    config->pools = g_ptr_array_new_with_free_func(free_pool);
    config->hosts = varve_hosts_new();
    for (gsize i = 0; i < G_N_ELEMENTS(settings); i++) {
        gpointer field = G_STRUCT_MEMBER_P(config, settings[i].offset);
        if (!settings[i].parse(settings[i].fallback, field, NULL))
            g_assert_not_reached(); /* a default that its own parser refuses */
    }
    return config;
}

void
varve_config_free(VarveConfig *config)
{
    if (config == NULL)
        return;
    g_free(config->file);
    g_free(config->root);
    g_free(config->socket);
    g_free(config->socket_group);
    g_free(config->fallback_pool);
    g_free(config->diff_content);
    g_free(config->diff_containerd);
    g_free(config->http_socket);
    g_free(config->http_socket_group);
    g_free(config->http_listen);
    g_free(config->http_certificate);
    g_free(config->http_key);
    g_free(config->http_client_ca);
    g_free(config->http_tokens);
    g_free(config->docker_socket);
    g_ptr_array_unref(config->pools);
    varve_hosts_free(config->hosts);
    g_free(config);
}

GHashTable *
varve_config_pool_settings(const VarveConfigPool *pool)
{
    GHashTable *table = g_hash_table_new(g_str_hash, g_str_equal);
    for (guint i = 0; i < pool->settings->len; i++) {
        VarveConfigSetting *setting = &g_array_index(pool->settings, VarveConfigSetting, i);
        g_hash_table_insert(table, setting->name, setting->value);
    }
    return table;
}

/* --- the file ------------------------------------------------------------------------------- */

typedef struct {
    VarveConfig *config;
    const char *section;   /* which one it is in: "varved", "diff", "http", */
    VarveConfigPool *pool; /* or this pool's, */
    char *host;            /* or this host's */
} Parser;

/* The name in "pool NAME"; NULL: it is another section. */
static const char *
name_after(const char *header, const char *kind)
{
    return g_str_has_prefix(header, kind) ? header + strlen(kind) : NULL;
}

static void
begin_pool(Parser *parser, const char *name, guint line)
{
    VarveConfigPool *pool = parser->pool = g_new0(VarveConfigPool, 1);
    pool->name = g_strdup(name);
    pool->driver = g_strdup("auto");
    pool->settings = g_array_new(FALSE, FALSE, sizeof(VarveConfigSetting));
    g_array_set_clear_func(pool->settings, clear_setting);
    pool->line = pool->driver_line = line;
    g_ptr_array_add(parser->config->pools, pool);
}

static gboolean
begin_section(gpointer data, const char *header, guint line, GError **error)
{
    Parser *parser = data;
    const char *pool = name_after(header, "pool "), *host = name_after(header, "host ");
    parser->pool = NULL;
    g_clear_pointer(&parser->host, g_free);
    parser->section = find_section(header);
    if (pool != NULL)
        begin_pool(parser, pool, line);
    if (host != NULL)
        parser->host = g_strdup(host);
    if (parser->section != NULL || pool != NULL)
        return TRUE;
    if (host != NULL)
        return varve_hosts_add(parser->config->hosts, host, error);
    g_set_error(
        error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
        "unknown section [%s]: there are [varved], [diff], [http], [docker], [pool NAME] and "
        "[host NAME]",
        header);
    return FALSE;
}

static gboolean
set_in_pool(VarveConfigPool *pool, const char *name, const char *value, guint line)
{
    if (g_str_equal(name, "driver")) {
        g_free(pool->driver);
        pool->driver = g_strdup(value);
        pool->driver_line = line;
        return TRUE;
    }
    VarveConfigSetting setting = {g_strdup(name), g_strdup(value), line};
    g_array_append_val(pool->settings, setting);
    return TRUE;
}

static gboolean
take_setting(gpointer data, const char *name, const char *value, guint line, GError **error)
{
    Parser *parser = data;
    if (parser->pool != NULL)
        return set_in_pool(parser->pool, name, value, line);
    if (parser->host != NULL)
        return varve_hosts_set(parser->config->hosts, parser->host, name, value, error);
    return set_in_section(parser->config, parser->section, name, value, error);
}

static const VarveSectionsReader reader = {begin_section, take_setting};

VarveConfig *
varve_config_parse(const char *file, const char *text, GError **error)
{
    g_autoptr(VarveConfig) config = varve_config_new();
    Parser parser = {.config = config};
    config->file = g_strdup(file);
    gboolean ok = varve_sections_parse(file, text, &reader, &parser, error);
    g_free(parser.host);
    return ok ? g_steal_pointer(&config) : NULL;
}

VarveConfig *
varve_config_load(const char *file, GError **error)
{
    g_autoptr(VarveConfig) config = varve_config_new();
    Parser parser = {.config = config};
    config->file = g_strdup(file);
    gboolean ok = varve_sections_load(file, &reader, &parser, error);
    g_free(parser.host);
    return ok ? g_steal_pointer(&config) : NULL;
}
