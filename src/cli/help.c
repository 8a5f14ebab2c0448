/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"
#include "cli/names.h"
#include <stdio.h>
#include <string.h>

#define INDENT 24 /* the column where explanations begin */

/* --- help ---------------------------------------------------------------------------------- */

static void
print_item(const char *item, const char *text)
{
    if (strlen(item) > INDENT - 4)
        printf("  %s\n%*s%s\n", item, INDENT, "", text);
    else
        printf("  %-*s%s\n", INDENT - 2, item, text);
}

static void
print_options(const GOptionEntry *options)
{
    for (; options->long_name != NULL; options++) {
        g_autoptr(GString) item = g_string_new(NULL);
        if (options->short_name != 0)
            g_string_append_printf(item, "-%c, ", options->short_name);
        g_string_append_printf(item, "--%s", options->long_name);
        if (options->arg_description != NULL)
            g_string_append_printf(item, " %s", options->arg_description);
        print_item(item->str, options->description);
    }
}

static void
print_example(const char *lines)
{
    g_auto(GStrv) list = g_strsplit(lines, "\n", -1);
    printf("\nExample:\n");
    for (gsize i = 0; list[i] != NULL && list[i][0] != '\0'; i++)
        printf("  %s\n", list[i]);
}

static void
print_verb_help(const CliNoun *noun, const CliVerb *verb)
{
    g_autofree char *words = cli_words(noun, verb);
    printf("Usage: varve [OPTION]... %s %s\n\n%s.\n", words, verb->synopsis, verb->summary);
    if (verb->about != NULL)
        printf("\n%s\n", verb->about);
    if (verb->options != NULL || verb->lists_names)
        puts("\nOptions:");
    if (verb->options != NULL)
        print_options(verb->options);
    if (verb->lists_names)
        print_options(cli_names_options);
    puts("\nOptions of every command:");
    print_options(cli_global_options);
    print_example(verb->example);
    printf("\nvarve-%s(1) tells more.\n", noun->name);
}

static void
print_noun_help(const CliNoun *noun)
{
    printf("Usage: varve [OPTION]... %s VERB [ARGUMENT]...\n\n%s.\n\n%s\n\nVerbs:\n", noun->name,
           noun->summary, noun->about);
    for (const CliVerb *verb = noun->verbs; verb->name != NULL; verb++)
        print_item(verb->name, verb->summary);
    puts("\nOptions of every command:");
    print_options(cli_global_options);
    print_example(noun->verbs->example);
    printf("\n'varve %s VERB --help' and varve-%s(1) tell more.\n", noun->name, noun->name);
}

static void
print_main_help(void)
{
    puts("Usage: varve [OPTION]... NOUN VERB [ARGUMENT]...\n"
         "       varve [OPTION]... run IMAGE [COMMAND]...\n\n"
         "Keeps file system states as layers: image layers, container roots, volumes.\n");
    for (const CliNoun *const *noun = cli_nouns; *noun != NULL; noun++) {
        printf("%s\n", (*noun)->summary);
        for (const CliVerb *verb = (*noun)->verbs; verb->name != NULL; verb++) {
            g_autofree char *item = cli_words(*noun, verb);
            print_item(item, verb->summary);
        }
        putchar('\n');
    }
    puts("Options, anywhere on the line:");
    print_options(cli_global_options);
    print_example("varve snapshot prepare fill-1 --mount /mnt   # an empty one, mounted\n"
                  "cp -a rootfs/. /mnt && umount /mnt\n"
                  "varve snapshot commit base fill-1            # now it can be a parent\n"
                  "varve snapshot prepare web base              # a writable child of it\n"
                  "varve snapshot tree\n");
    puts("\n'varve NOUN VERB --help' and varve(1) tell more.");
}

void
cli_print_help(const CliNoun *noun, const CliVerb *verb)
{
    if (verb != NULL)
        print_verb_help(noun, verb);
    else if (noun != NULL)
        print_noun_help(noun);
    else
        print_main_help();
}

/* --- suggestions --------------------------------------------------------------------------- */

/* Whether the letters of a stand in b in that order: "ls" is short for "list". */
static gboolean
is_short_for(const char *a, const char *b)
{
    for (; *a != '\0' && *b != '\0'; b++)
        a += *a == *b;
    return *a == '\0';
}

#define MAX_WORD 32

/* Edits (insert, delete, replace one byte) from name to word, which has at most MAX_WORD bytes:
 * Wagner and Fischer, 1974, row by row. */
static gsize
edit_distance(const char *name, const char *word)
{
    gsize row[MAX_WORD + 1], n = strlen(word);
    for (gsize j = 0; j <= n; j++)
        row[j] = j;
    for (gsize i = 1; name[i - 1] != '\0'; i++) {
        gsize diagonal = row[0];
        row[0] = i;
        for (gsize j = 1; j <= n; j++) {
            gsize replaced = diagonal + (name[i - 1] != word[j - 1]);
            diagonal = row[j];
            row[j] = MIN(replaced, MIN(row[j], row[j - 1]) + 1);
        }
    }
    return row[n];
}

#define MAX_UNLIKELY 2

/* How unlikely it is that word means name: 0 when it is the name, more than MAX_UNLIKELY when it
 * can hardly be meant. */
static gsize
unlikeliness(const char *word, const char *name)
{
    if (g_str_equal(word, name))
        return 0;
    if (*word == '\0' || strlen(word) > MAX_WORD)
        return MAX_UNLIKELY + 1;
    if (is_short_for(word, name) || is_short_for(name, word))
        return 1;
    gsize distance = edit_distance(name, word);
    return distance * 2 < strlen(name) ? distance : MAX_UNLIKELY + 1;
}

static const CliVerb *
nearest_verb(const CliNoun *noun, const char *word, gsize max)
{
    const CliVerb *best = NULL;
    for (const CliVerb *verb = noun->verbs; verb->name != NULL; verb++) {
        gsize n = unlikeliness(word, verb->name);
        if (n <= max && (best == NULL || n < unlikeliness(word, best->name)))
            best = verb;
    }
    return best;
}

gboolean
cli_unknown_verb(const CliNoun *noun, const char *word, GError **error)
{
    if (word == NULL)
        return cli_usage_error(error, "no verb given for '%s'", noun->name);
    const CliVerb *verb = nearest_verb(noun, word, MAX_UNLIKELY);
    if (verb == NULL)
        return cli_usage_error(error, "'%s' has no verb '%s'", noun->name, word);
    return cli_usage_error(error, "'%s' has no verb '%s': did you mean 'varve %s %s'?", noun->name,
                           word, noun->name, verb->name);
}

gboolean
cli_unknown_noun(const char *word, GError **error)
{
    if (word == NULL)
        return cli_usage_error(error, "no command given");
    const CliNoun *best = NULL;
    for (const CliNoun *const *noun = cli_nouns; *noun != NULL; noun++) {
        gsize n = unlikeliness(word, (*noun)->name);
        if (n <= MAX_UNLIKELY && (best == NULL || n < unlikeliness(word, best->name)))
            best = *noun;
    }
    if (best != NULL)
        return cli_usage_error(error, "there is no noun '%s': did you mean 'varve %s'?", word,
                               best->name);
    /* The noun forgotten: most verbs are the snapshots'. */
    const CliVerb *verb = nearest_verb(&cli_snapshot_noun, word, 0);
    if (verb != NULL)
        return cli_usage_error(error, "'%s' is a verb: did you mean 'varve snapshot %s'?", word,
                               word);
    return cli_usage_error(error, "there is no noun '%s'", word);
}
