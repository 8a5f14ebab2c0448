/* SPDX-License-Identifier: Apache-2.0 */
#include "image/instructions.h"
#include <string.h>

#define MAX_TEXT ((gsize)64 * 1024)
#define MAX_PORT 65535

typedef struct {
    json_t *image;
    json_t *process; /* its field "config" */
    gboolean command_given;
} Target;

static gboolean
wrong(GError **error, const char *what)
{
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "%s", what);
}

/* --- values ---------------------------------------------------------------------------------- */

static json_t *
object_in(json_t *parent, const char *key)
{
    json_t *object = json_object_get(parent, key);
    if (json_is_object(object))
        return object;
    json_object_set_new(parent, key, json_object());
    return json_object_get(parent, key);
}

/* A JSON array of strings, or NULL when it is none. */
static json_t *
parse_array(const char *text)
{
    json_t *array =
        *text == '[' ? varve_json_parse(text, strlen(text), MAX_TEXT, JSON_ARRAY, NULL) : NULL;
    for (gsize i = 0; i < json_array_size(array); i++) {
        if (!json_is_string(json_array_get(array, i))) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

/* What is no array is a line for the shell. */
static json_t *
parse_command(const char *text)
{
    json_t *array = parse_array(text);
    return array != NULL ? array : json_pack("[s,s,s]", "/bin/sh", "-c", text);
}

/* Words as the shell has them, with quotes. */
static gboolean
parse_words(const char *text, char ***words, GError **error)
{
    g_autoptr(GError) failure = NULL;
    return g_shell_parse_argv(text, NULL, words, &failure) || wrong(error, failure->message);
}

typedef void (*PairFunc)(json_t *target, const char *key, const char *value);

/* KEY=VALUE KEY=VALUE, or KEY VALUE, where the value is the rest of the line. */
static gboolean
parse_pairs(const char *text, PairFunc func, json_t *target, GError **error)
{
    g_auto(GStrv) words = NULL;
    const char *space = strchr(text, ' '), *equals = strchr(text, '=');
    if (equals == NULL || (space != NULL && space < equals && *text != '"' && *text != '\'')) {
        if (space == NULL)
            return wrong(error, "it must be KEY=VALUE");
        g_autofree char *key = g_strndup(text, (gsize)(space - text));
        func(target, key, space + strspn(space, " "));
        return TRUE;
    }
    if (!parse_words(text, &words, error))
        return FALSE;
    for (char **word = words; *word != NULL; word++) {
        char *cut = strchr(*word, '=');
        if (cut == NULL || cut == *word)
            return wrong(error, "it must be KEY=VALUE");
        *cut = '\0';
        func(target, *word, cut + 1);
    }
    return TRUE;
}

/* --- instructions ---------------------------------------------------------------------------- */

static gboolean
set_command(Target *target, const char *text, GError **error)
{
    json_object_set_new(target->process, "Cmd", parse_command(text));
    json_object_del(target->process, "ArgsEscaped");
    target->command_given = TRUE;
    return TRUE;
}

/* What the image had for a command was for the entry point that it had. */
static gboolean
set_entrypoint(Target *target, const char *text, GError **error)
{
    json_object_set_new(target->process, "Entrypoint", parse_command(text));
    if (!target->command_given)
        json_object_del(target->process, "Cmd");
    return TRUE;
}

static void
set_variable(json_t *list, const char *key, const char *value)
{
    g_autofree char *pair = g_strconcat(key, "=", value, NULL);
    gsize length = strlen(key) + 1;
    for (gsize i = 0; i < json_array_size(list); i++) {
        const char *item = json_string_value(json_array_get(list, i));
        if (item != NULL && strncmp(item, pair, length) == 0) {
            json_array_set_new(list, i, json_string(pair));
            return;
        }
    }
    json_array_append_new(list, json_string(pair));
}

static gboolean
set_environment(Target *target, const char *text, GError **error)
{
    if (!json_is_array(json_object_get(target->process, "Env")))
        json_object_set_new(target->process, "Env", json_array());
    return parse_pairs(text, set_variable, json_object_get(target->process, "Env"), error);
}

static void
set_label(json_t *labels, const char *key, const char *value)
{
    json_object_set_new(labels, key, json_string(value));
}

static gboolean
add_labels(Target *target, const char *text, GError **error)
{
    return parse_pairs(text, set_label, object_in(target->process, "Labels"), error);
}

/* PORT, FIRST-LAST, either with /tcp, /udp or /sctp. */
static gboolean
add_ports(json_t *ports, const char *word)
{
    const char *slash = strchr(word, '/'), *protocol = slash != NULL ? slash + 1 : "tcp";
    static const char *const protocols[] = {"tcp", "udp", "sctp", NULL};
    char *end;
    if (!g_ascii_isdigit(*word) || !g_strv_contains(protocols, protocol))
        return FALSE;
    guint64 first = g_ascii_strtoull(word, &end, 10), last = first;
    if (*end == '-' && g_ascii_isdigit(end[1]))
        last = g_ascii_strtoull(end + 1, &end, 10);
    if ((*end != '\0' && *end != '/') || first == 0 || last < first || last > MAX_PORT)
        return FALSE;
    for (guint64 port = first; port <= last; port++) {
        g_autofree char *key = g_strdup_printf("%" G_GUINT64_FORMAT "/%s", port, protocol);
        json_object_set_new(ports, key, json_object());
    }
    return TRUE;
}

static gboolean
expose(Target *target, const char *text, GError **error)
{
    g_auto(GStrv) words = NULL;
    json_t *ports = object_in(target->process, "ExposedPorts");
    if (!parse_words(text, &words, error))
        return FALSE;
    for (char **word = words; *word != NULL; word++) {
        if (!add_ports(ports, *word))
            return wrong(error, "a port is a number up to 65535, or two with a dash between them, "
                                "and perhaps /tcp, /udp or /sctp");
    }
    return TRUE;
}

static gboolean
add_volumes(Target *target, const char *text, GError **error)
{
    json_t *volumes = object_in(target->process, "Volumes");
    json_auto_t *array = parse_array(text);
    g_auto(GStrv) words = NULL;
    for (gsize i = 0; i < json_array_size(array); i++)
        json_object_set_new(volumes, json_string_value(json_array_get(array, i)), json_object());
    if (array != NULL)
        return TRUE;
    if (!parse_words(text, &words, error))
        return FALSE;
    for (char **word = words; *word != NULL; word++)
        json_object_set_new(volumes, *word, json_object());
    return TRUE;
}

static gboolean
set_user(Target *target, const char *text, GError **error)
{
    json_object_set_new(target->process, "User", json_string(text));
    return TRUE;
}

static gboolean
set_stop_signal(Target *target, const char *text, GError **error)
{
    json_object_set_new(target->process, "StopSignal", json_string(text));
    return TRUE;
}

/* A relative one goes on from where it was. */
static gboolean
set_directory(Target *target, const char *text, GError **error)
{
    const char *old = json_string_value(json_object_get(target->process, "WorkingDir"));
    g_autofree char *base = g_canonicalize_filename(old != NULL ? old : "", "/");
    g_autofree char *path = g_canonicalize_filename(text, base);
    json_object_set_new(target->process, "WorkingDir", json_string(path));
    return TRUE;
}

static gboolean
set_author(Target *target, const char *text, GError **error)
{
    json_object_set_new(target->image, "author", json_string(text));
    return TRUE;
}

static const struct {
    const char *word;
    gboolean (*apply)(Target *target, const char *text, GError **error);
} instructions[] = {
    {"CMD", set_command},    {"ENTRYPOINT", set_entrypoint}, {"ENV", set_environment},
    {"EXPOSE", expose},      {"LABEL", add_labels},          {"USER", set_user},
    {"VOLUME", add_volumes}, {"WORKDIR", set_directory},     {"STOPSIGNAL", set_stop_signal},
    {"AUTHOR", set_author},  {"MAINTAINER", set_author},
};

/* --- all of them ----------------------------------------------------------------------------- */

static gboolean
unknown(GError **error)
{
    g_autoptr(GString) words = g_string_new(NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(instructions); i++)
        g_string_append_printf(words, "%s%s", i > 0 ? ", " : "", instructions[i].word);
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "it must begin with one of %s",
                           words->str);
}

static gboolean
apply(Target *target, const char *change, GError **error)
{
    if (!g_utf8_validate(change, -1, NULL))
        return wrong(error, "it is not UTF-8");
    g_autofree char *line = g_strstrip(g_strdup(change));
    gsize length = strcspn(line, " \t");
    const char *text = line + length + strspn(line + length, " \t");
    for (gsize i = 0; i < G_N_ELEMENTS(instructions); i++) {
        if (strlen(instructions[i].word) != length ||
            g_ascii_strncasecmp(line, instructions[i].word, length) != 0)
            continue;
        if (*text == '\0')
            return wrong(error, "it says nothing");
        return instructions[i].apply(target, text, error);
    }
    return unknown(error);
}

gboolean
varve_instructions_apply(json_t *image, const char *const *changes, GError **error)
{
    Target target = {image, object_in(image, "config"), FALSE};
    for (; changes != NULL && *changes != NULL; changes++) {
        if (!apply(&target, *changes, error)) {
            g_autofree char *shown = g_strescape(*changes, NULL);
            g_prefix_error(error, "change '%.200s': ", shown);
            return FALSE;
        }
    }
    return TRUE;
}
