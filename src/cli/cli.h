/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_CLI_H
#define VARVE_CLI_CLI_H

/*
 * The varve command: libvarve with a face.
 *
 * A command line is a noun, a verb and the verb's arguments:
 *
 *     varve [--root DIR] [--pool NAME] [--json] NOUN VERB [ARGS]
 *
 * or, for what is done all day, a command and its arguments: varve run IMAGE.
 *
 * Each noun is a file (pool.c, snapshot.c, system.c) that ends in a table of its verbs. The table
 * is all there is to know of a verb: how it is called, its help, what it needs opened, and the
 * function that does it. main.c reads the line, opens what the verb needs, calls the function and
 * turns its error into an exit status; help.c prints the tables; session.c holds the process's
 * dealings with the engine and with stderr; output.c is everything that goes to stdout.
 *
 * The functions of a verb translate and call the engine: rules belong in the library.
 */

#include <varve/varve.h>

/* What a verb says of its end beside its error. */
typedef struct {
    int status;       /* what varve is to exit with; -1: as the error says */
    const char *hint; /* the next step after the error; NULL: as the table says */
} CliOutcome;

/* What main.c has opened for a verb. */
typedef struct {
    const char *root;
    const char *pool_name; /* as given with --pool, or NULL */
    gboolean json;
    VarveEngine *engine; /* NULL for CLI_NEEDS_NOTHING */
    VarvePool *pool;     /* NULL unless CLI_NEEDS_POOL */
    CliOutcome *outcome;
} Cli;

typedef enum {
    CLI_NEEDS_NOTHING,
    CLI_NEEDS_ENGINE,
    CLI_NEEDS_POOL,
} CliNeeds;

typedef struct {
    const char *name;
    const char *synopsis; /* what follows the verb on the line: "NAME KEY [--parent P]" */
    const char *summary;  /* one line, as in a list of verbs */
    const char *about;    /* paragraphs for --help, lines of less than 80 columns */
    const char *example;  /* lines to type, each ended by a newline */
    int min_args, max_args;
    const GOptionEntry *options; /* may be NULL; strings as G_OPTION_ARG_FILENAME: raw bytes */
    gboolean lists_names;        /* has the options of names.h too */
    gboolean takes_command;      /* what follows its first argument is another program's line */
    int failure_status;          /* what varve exits with after an error; 0: as the error says */
    CliNeeds needs;
    VarveEngineFlags flags;
    const char *hint[VARVE_ERROR_INTERNAL + 1]; /* the next step after an error of that code */
    gboolean (*run)(const Cli *cli, char **args, GError **error);
} CliVerb;

typedef struct {
    const char *name;
    const char *summary;
    const char *about;
    const CliVerb *verbs; /* ended by a NULL name */
    gboolean is_command;  /* it has one verb, which is not written: "varve run IMAGE" */
} CliNoun;

#define CLI_ANY_ARGS G_MAXINT

/* How a command that only looks opens the engine. */
#define CLI_LOOK (VARVE_ENGINE_NO_RECOVERY | VARVE_ENGINE_MUST_EXIST)

extern const CliNoun cli_container_noun;
extern const CliNoun cli_image_noun;
extern const CliNoun cli_pool_noun;
extern const CliNoun cli_run_noun;
extern const CliNoun cli_snapshot_noun;
extern const CliNoun cli_system_noun;
extern const CliNoun cli_volume_noun;

extern const CliNoun *const cli_nouns[]; /* ended by NULL */
extern const GOptionEntry cli_global_options[];

/* Sets an error of wrong usage (exit status 2). Returns FALSE. */
gboolean cli_usage_error(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
gboolean cli_is_usage_error(const GError *error);

/* Adds "KEY=VALUE", the value of an option, to a table of char* that is made when it is NULL. For a
 * G_OPTION_ARG_CALLBACK: so wrong usage is told before anything is opened. */
gboolean cli_add_pair(GHashTable **table, const char *option_name, const char *pair,
                      GError **error);

/* The words that call a verb: "pool ls", or "run". To be freed. */
char *cli_words(const CliNoun *noun, const CliVerb *verb);

/* --- each.c -------------------------------------------------------------------------------- */

/* Does something to each of the names on the line. One failure does not spare the others, unless it
 * is that the user cancelled; each is told, and the last one is the command's. */
typedef gboolean (*CliEachFunc)(const char *name, gpointer data, GError **error);
gboolean cli_for_each(const Cli *cli, char **names, CliEachFunc func, gpointer data,
                      GError **error);

/* --- help.c -------------------------------------------------------------------------------- */

/* Help for everything, for a noun, or for a verb; noun and verb may be NULL. */
void cli_print_help(const CliNoun *noun, const CliVerb *verb);

/* Sets the error that tells of an unknown noun, or of a noun's unknown or missing (word NULL) verb,
 * and what may have been meant. Returns FALSE. */
gboolean cli_unknown_noun(const char *word, GError **error);
gboolean cli_unknown_verb(const CliNoun *noun, const char *word, GError **error);

/* --- session.c ----------------------------------------------------------------------------- */

/* Shows the library's warnings and errors on stderr from now on. */
void cli_log_to_stderr(void);

/* Shows the engine's progress on a terminal, and lets SIGINT and SIGTERM cancel what it does. A
 * second signal ends the process at once, which is safe: the next start clears up. */
void cli_watch_engine(VarveEngine *engine);

/* Signals have their default effect again; the engine may be closed. */
void cli_unwatch_engine(void);

/* The signal that was caught, or 0. */
int cli_caught_signal(void);

/* Shows text, of one or several lines, none wider than the terminal, on stderr in place of what was
 * drawn before; the last line has no newline. */
void cli_draw_progress(const char *text);

/* Takes the progress off the terminal. */
void cli_clear_progress(void);

/* Writes a line to stderr, the progress being off it. */
void cli_write_line(const char *line);

/* One error on stderr, as text or as JSON; hint may be NULL. */
void cli_report_error(const GError *error, const char *hint, gboolean json);

#endif
