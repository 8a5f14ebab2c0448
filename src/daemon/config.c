/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/config.h"
#include <string.h>

#define MAX_WORKERS 1024

/* --- the settings of [varved], [diff] and [http] -------------------------------------------- */

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
parse_workers(const char *value, gpointer field, GError **error)
{
    guint64 number = 0;
    if (!g_ascii_string_to_unsigned(value, 10, 1, MAX_WORKERS, &number, NULL)) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                    "'%s' is not a number from 1 to %d", value, MAX_WORKERS);
        return FALSE;
    }
    *(guint *)field = (guint)number;
    return TRUE;
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
     "Without "
     "it an unknown name is refused, and an empty one means the pool that varve(8) would take."},
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
    g_ptr_array_unref(config->pools);
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
    guint line;
    const char *section;   /* which one the line is in: "varved", "diff", */
    VarveConfigPool *pool; /* or this pool's, or none yet */
    GHashTable *seen;      /* "SECTION" and "SECTION\nSETTING" to the line where it stood */
} Parser;

/* Nothing may be told twice: the second would silently win. */
static gboolean
check_first(Parser *parser, const char *what, const char *section, const char *setting,
            GError **error)
{
    char *key = g_strdup_printf("%s\n%s", section, setting);
    guint before = GPOINTER_TO_UINT(g_hash_table_lookup(parser->seen, key));
    g_hash_table_replace(parser->seen, key, GUINT_TO_POINTER(parser->line));
    if (before == 0)
        return TRUE;
    g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT, "%s was already given in line %u",
                what, before);
    return FALSE;
}

/* header: what stands between the brackets. */
static gboolean
begin_section(Parser *parser, char *header, GError **error)
{
    g_autofree char *what = g_strdup_printf("section [%s]", header);
    parser->pool = NULL;
    parser->section = find_section(header);
    if (parser->section != NULL)
        return check_first(parser, what, header, "", error);

    if (!g_str_has_prefix(header, "pool ")) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                    "unknown section [%s]: there are [varved], [diff], [http] and [pool NAME]",
                    header);
        return FALSE;
    }
    VarveConfigPool *pool = parser->pool = g_new0(VarveConfigPool, 1);
    pool->name = g_strdup(g_strstrip(header + strlen("pool ")));
    pool->driver = g_strdup("auto");
    pool->settings = g_array_new(FALSE, FALSE, sizeof(VarveConfigSetting));
    g_array_set_clear_func(pool->settings, clear_setting);
    pool->line = pool->driver_line = parser->line;
    g_ptr_array_add(parser->config->pools, pool);
    return check_first(parser, what, "pool", pool->name, error);
}

static gboolean
set_in_pool(Parser *parser, const char *name, const char *value, GError **error)
{
    VarveConfigPool *pool = parser->pool;
    if (g_str_equal(name, "driver")) {
        g_free(pool->driver);
        pool->driver = g_strdup(value);
        pool->driver_line = parser->line;
        return TRUE;
    }
    VarveConfigSetting setting = {g_strdup(name), g_strdup(value), parser->line};
    g_array_append_val(pool->settings, setting);
    return TRUE;
}

static gboolean
parse_setting(Parser *parser, char *line, GError **error)
{
    char *equals = strchr(line, '=');
    if (equals == NULL || equals == line) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                    "neither a [section] nor a 'setting = value': '%s'", line);
        return FALSE;
    }
    *equals = '\0';
    const char *name = g_strchomp(line), *value = g_strchug(equals + 1);
    if (parser->section == NULL && parser->pool == NULL) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                    "setting '%s' stands before any section", name);
        return FALSE;
    }
    g_autofree char *what = g_strdup_printf("setting '%s'", name);
    g_autofree char *section = parser->pool != NULL
                                   ? g_strdup_printf("pool\n%s", parser->pool->name)
                                   : g_strdup(parser->section);
    if (!check_first(parser, what, section, name, error))
        return FALSE;
    return parser->pool != NULL
               ? set_in_pool(parser, name, value, error)
               : set_in_section(parser->config, parser->section, name, value, error);
}

static gboolean
parse_line(Parser *parser, char *line, GError **error)
{
    g_strstrip(line);
    gsize length = strlen(line);
    if (length == 0 || *line == '#' || *line == ';')
        return TRUE;
    if (*line != '[')
        return parse_setting(parser, line, error);
    if (line[length - 1] != ']') {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT,
                    "section without a ']' at its end: '%s'", line);
        return FALSE;
    }
    line[length - 1] = '\0';
    return begin_section(parser, g_strstrip(line + 1), error);
}

VarveConfig *
varve_config_parse(const char *file, const char *text, GError **error)
{
    g_autoptr(VarveConfig) config = varve_config_new();
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    config->file = g_strdup(file);
    Parser parser = {.config = config, .seen = seen};
    for (char **line = lines; *line != NULL; line++) {
        parser.line++;
        if (!parse_line(&parser, *line, error)) {
            g_prefix_error(error, "%s:%u: ", file, parser.line);
            return NULL;
        }
    }
    return g_steal_pointer(&config);
}

VarveConfig *
varve_config_load(const char *file, GError **error)
{
    g_autofree char *text = NULL;
    g_autoptr(GError) cause = NULL;
    gsize length = 0;
    if (!g_file_get_contents(file, &text, &length, &cause)) {
        gboolean missing = g_error_matches(cause, G_FILE_ERROR, G_FILE_ERROR_NOENT);
        g_set_error(error, VARVE_ERROR,
                    missing ? VARVE_ERROR_NOT_FOUND : VARVE_ERROR_INVALID_ARGUMENT,
                    "reading the configuration: %s", cause->message);
        return NULL;
    }
    if (strlen(text) != length || !g_utf8_validate(text, (gssize)length, NULL)) {
        g_set_error(error, VARVE_ERROR, VARVE_ERROR_INVALID_ARGUMENT, "%s: not a text in UTF-8",
                    file);
        return NULL;
    }
    return varve_config_parse(file, text, error);
}
