/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/names.h"
#include "cli/text.h"
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEFAULT_ROOT "/var/lib/varve"

#define EXIT_USAGE  2
#define EXIT_SIGNAL 128 /* and the signal's number, as shells have it */

const CliNoun *const cli_nouns[] = {
    &cli_run_noun,       &cli_pool_noun,   &cli_snapshot_noun, &cli_image_noun,
    &cli_container_noun, &cli_volume_noun, &cli_system_noun,   NULL};

static struct {
    char *root, *pool;
    gboolean json, help, version;
} option;

const GOptionEntry cli_global_options[] = {
    {"root", 0, 0, G_OPTION_ARG_FILENAME, &option.root,
     "where everything is kept (default: $VARVE_ROOT, or " DEFAULT_ROOT ")", "DIR"},
    {"pool", 0, 0, G_OPTION_ARG_FILENAME, &option.pool,
     "the pool to work in (default: the only one, or \"default\")", "NAME"},
    {"json", 0, 0, G_OPTION_ARG_NONE, &option.json, "print JSON, errors too", NULL},
    {"version", 0, 0, G_OPTION_ARG_NONE, &option.version, "print the version", NULL},
    {"help", 'h', 0, G_OPTION_ARG_NONE, &option.help, "print help for what is named so far", NULL},
    {NULL},
};

/* --- usage errors -------------------------------------------------------------------------- */

static GQuark
usage_error_quark(void)
{
    return g_quark_from_static_string("varve-usage-error");
}

gboolean
cli_usage_error(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_propagate_error(error, g_error_new_valist(usage_error_quark(), 0, format, args));
    va_end(args);
    return FALSE;
}

gboolean
cli_is_usage_error(const GError *error)
{
    return error->domain == usage_error_quark() || error->domain == G_OPTION_ERROR;
}

gboolean
cli_add_pair(GHashTable **table, const char *option_name, const char *pair, GError **error)
{
    const char *equals = strchr(pair, '=');
    if (equals == NULL || equals == pair)
        return cli_usage_error(error, "%s '%s' is not of the form KEY=VALUE", option_name, pair);
    if (*table == NULL)
        *table = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_hash_table_replace(*table, g_strndup(pair, (gsize)(equals - pair)), g_strdup(equals + 1));
    return TRUE;
}

/* --- reading the line ---------------------------------------------------------------------- */

typedef struct {
    const CliNoun *noun;
    const CliVerb *verb;
    char **args; /* what follows them, without the options */
} Line;

/* Takes the first word out of the list that is neither an option nor the value of a global one. */
static const char *
take_word(GPtrArray *words)
{
    for (guint i = 1; i < words->len; i++) {
        const char *word = g_ptr_array_index(words, i);
        if (g_str_equal(word, "--"))
            return NULL;
        if (word[0] != '-')
            return g_ptr_array_remove_index(words, i);
        if (g_str_equal(word, "--root") || g_str_equal(word, "--pool"))
            i++;
    }
    return NULL;
}

static const CliNoun *
find_noun(const char *word)
{
    for (const CliNoun *const *noun = cli_nouns; *noun != NULL; noun++)
        if (g_strcmp0((*noun)->name, word) == 0)
            return *noun;
    return NULL;
}

static const CliVerb *
find_verb(const CliNoun *noun, const char *word)
{
    for (const CliVerb *verb = noun->verbs; verb->name != NULL; verb++)
        if (g_strcmp0(verb->name, word) == 0)
            return verb;
    return NULL;
}

char *
cli_words(const CliNoun *noun, const CliVerb *verb)
{
    return verb == NULL || noun->is_command ? g_strdup(noun->name)
                                            : g_strjoin(" ", noun->name, verb->name, NULL);
}

/* Parses the options of all commands and the verb's (NULL: no verb); the other words are args. */
static gboolean
parse_options(GPtrArray *words, const CliVerb *verb, char ***args, GError **error)
{
    const GOptionEntry rest[] = {
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_FILENAME_ARRAY, args, NULL, NULL}, {NULL}};
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);
    g_option_context_set_help_enabled(context, FALSE);
    g_option_context_set_strict_posix(context, verb != NULL && verb->takes_command);
    g_option_context_add_main_entries(context, cli_global_options, NULL);
    if (verb != NULL && verb->options != NULL)
        g_option_context_add_main_entries(context, verb->options, NULL);
    if (verb != NULL && verb->lists_names)
        g_option_context_add_main_entries(context, cli_names_options, NULL);
    g_option_context_add_main_entries(context, rest, NULL);

    int n = (int)words->len;
    g_ptr_array_add(words, NULL);
    char **argv = (char **)words->pdata;
    if (!g_option_context_parse(context, &n, &argv, error))
        return FALSE;
    if (*args == NULL)
        *args = g_new0(char *, 1);
    return TRUE;
}

static gboolean
check_count(const Line *line, GError **error)
{
    int n = (int)g_strv_length(line->args);
    if (n >= line->verb->min_args && n <= line->verb->max_args)
        return TRUE;
    g_autofree char *words = cli_words(line->noun, line->verb);
    return cli_usage_error(error, "too %s arguments: varve %s %s",
                           n < line->verb->min_args ? "few" : "many", words, line->verb->synopsis);
}

/* Finds noun and verb, and sets the options; a line that asks for help needs neither. */
static gboolean
read_line(int argc, char **argv, Line *line, GError **error)
{
    g_autoptr(GPtrArray) words = g_ptr_array_new();
    for (int i = 0; i < argc; i++)
        g_ptr_array_add(words, argv[i]);

    const char *noun = take_word(words);
    gboolean help = g_strcmp0(noun, "help") == 0;
    if (help)
        noun = take_word(words);
    line->noun = find_noun(noun);
    gboolean is_command = line->noun != NULL && line->noun->is_command;
    const char *verb = line->noun != NULL && !is_command ? take_word(words) : NULL;
    line->verb = verb != NULL ? find_verb(line->noun, verb) : NULL;
    if (is_command)
        line->verb = line->noun->verbs;
    if (noun != NULL && line->noun == NULL)
        return cli_unknown_noun(noun, error);
    if (verb != NULL && line->verb == NULL)
        return cli_unknown_verb(line->noun, verb, error);

    if (!parse_options(words, line->verb, &line->args, error))
        return FALSE;
    option.help |= help;
    if (option.help || option.version)
        return TRUE;
    if (line->noun == NULL)
        return cli_unknown_noun(NULL, error);
    if (line->verb == NULL)
        return cli_unknown_verb(line->noun, NULL, error);
    return check_count(line, error);
}

/* --- doing what it says -------------------------------------------------------------------- */

static gboolean
run_verb(const CliVerb *verb, Cli *cli, char **args, GError **error)
{
    if (verb->needs == CLI_NEEDS_NOTHING)
        return verb->run(cli, args, error);
    cli->engine = varve_engine_open(cli->root, verb->flags, error);
    if (cli->engine == NULL)
        return FALSE;
    cli_watch_engine(cli->engine);
    if (verb->needs == CLI_NEEDS_POOL)
        cli->pool = varve_engine_get_pool(cli->engine, cli->pool_name, error);
    gboolean done =
        (verb->needs != CLI_NEEDS_POOL || cli->pool != NULL) && verb->run(cli, args, error);
    /* The result is told before the engine is closed, which may take its time: it waits until the
     * space of what was removed is freed. */
    cli_clear_progress();
    cli_flush_stdout();
    cli_unwatch_engine();
    varve_engine_close(cli->engine);
    cli_clear_progress();
    return done;
}

static gboolean
run_line(const Line *line, Cli *cli, GError **error)
{
    if (option.version) {
        puts("varve " VARVE_VERSION);
        return TRUE;
    }
    if (option.help) {
        cli_print_help(line->noun, line->verb);
        return TRUE;
    }
    g_assert(line->verb != NULL); /* read_line saw to that */
    return run_verb(line->verb, cli, line->args, error);
}

/* What to do about the error, or NULL. */
static char *
hint_for(const GError *error, const Line *line, const Cli *cli)
{
    if (cli_is_usage_error(error)) {
        g_autofree char *words = line->noun != NULL ? cli_words(line->noun, line->verb) : NULL;
        return g_strdup_printf("try 'varve%s%s --help'", words != NULL ? " " : "",
                               words != NULL ? words : "");
    }
    const CliVerb *verb = line->verb;
    if (error->domain != VARVE_ERROR || verb == NULL)
        return NULL;
    if (error->code == VARVE_ERROR_PERMISSION_DENIED && geteuid() != 0)
        return g_strdup("run it as root");
    gboolean missing = error->code == VARVE_ERROR_NOT_FOUND;
    if (verb->needs != CLI_NEEDS_NOTHING && cli->engine == NULL)
        return g_strdup(missing ? "'varve pool create NAME' makes a store there; --root and "
                                  "VARVE_ROOT name another place"
                                : NULL);
    if (verb->needs == CLI_NEEDS_POOL && cli->pool == NULL)
        return g_strdup(missing ? "'varve pool ls' lists the pools" : NULL);
    return g_strdup(cli->outcome->hint != NULL ? cli->outcome->hint : verb->hint[error->code]);
}

static int
exit_status(const GError *error, const CliVerb *verb, const CliOutcome *outcome)
{
    if (cli_caught_signal() != 0 && g_error_matches(error, VARVE_ERROR, VARVE_ERROR_CANCELLED))
        return EXIT_SIGNAL + cli_caught_signal();
    if (outcome->status >= 0)
        return outcome->status;
    if (verb != NULL && verb->failure_status != 0)
        return verb->failure_status;
    if (cli_is_usage_error(error))
        return EXIT_USAGE;
    return varve_error_exit_status(error);
}

/* Started with standard descriptors closed, the next file opened would take their place: the store
 * must not be descriptor 1, where the output goes. */
static void
fill_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
            abort();
}

int
main(int argc, char **argv)
{
    fill_standard_descriptors();
    /* So that nothing of it comes before the progress is off the terminal. */
    (void)setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    setlocale(LC_ALL, "");
    cli_log_to_stderr();

    /* Asked for before the line is understood: an error in it is JSON as well. */
    gboolean json = g_strv_contains((const char *const *)argv, "--json");
    const char *root = g_getenv("VARVE_ROOT");
    Line line = {0};
    CliOutcome outcome = {.status = -1};
    Cli cli = {.outcome = &outcome};
    g_autoptr(GError) error = NULL;
    gboolean done = read_line(argc, argv, &line, &error);
    if (done) {
        if (option.root != NULL)
            root = option.root;
        cli.root = root != NULL && *root != '\0' ? root : DEFAULT_ROOT;
        cli.pool_name = option.pool;
        cli.json = json = option.json;
        done = run_line(&line, &cli, &error);
    }
    done = cli_finish_stdout(done ? &error : NULL) && done;

    int status = done && outcome.status >= 0 ? outcome.status : EXIT_SUCCESS;
    if (!done) {
        g_autofree char *hint = hint_for(error, &line, &cli);
        cli_report_error(error, hint, json);
        status = exit_status(error, line.verb, &outcome);
    }
    g_strfreev(line.args);
    g_free(option.root);
    g_free(option.pool);
    return status;
}
