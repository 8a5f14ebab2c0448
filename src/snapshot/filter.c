/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot/internal.h"
#include <string.h>

/*
 * containerd's filter syntax, as its package filters documents it:
 *
 *     filter    := selector ("," selector)*
 *     selector  := fieldpath [operator value]
 *     fieldpath := field ("." field)*
 *     field     := quoted | [A-Za-z0-9_]+
 *     operator  := "==" | "!=" | "~="
 *     value     := quoted | printable text without "," and space, not beginning with one of .=!~
 *     quoted    := a Go string literal in "..."; for ~= also in /.../ or |...|
 *
 * All selectors of a filter must match, and one of the filters. A selector without an operator asks
 * whether the field is there. One that is not there matches no ==; for != and ~= it is as if empty.
 */

typedef enum { OP_PRESENT, OP_EQUAL, OP_NOT_EQUAL, OP_MATCHES } Operator;

typedef struct {
    char *field; /* "name", "parent", "kind", "labels" or anything, which then is never there */
    char *label; /* the rest of the path of a label */
    Operator op;
    char *value;
    GRegex *regex;
} Selector;

struct VarveFilter {
    GPtrArray *alternatives; /* of GPtrArray of Selector*; empty: everything matches */
};

static void
selector_free(Selector *selector)
{
    g_free(selector->field);
    g_free(selector->label);
    g_free(selector->value);
    g_clear_pointer(&selector->regex, g_regex_unref);
    g_free(selector);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Selector, selector_free)

/* --- parsing ---------------------------------------------------------------------------------- */

typedef struct {
    const char *input, *at;
} Parser;

static gboolean
parse_error(const Parser *p, const char *message, GError **error)
{
    g_autofree char *shown = varve_key_display(p->input);
    return varve_error_set(error, VARVE_ERROR_INVALID_ARGUMENT, "filter '%s', at byte %zu: %s",
                           shown, (gsize)(p->at - p->input), message);
}

static void
skip_space(Parser *p)
{
    while (g_ascii_isspace(*p->at) || *p->at == '\v')
        p->at++;
}

static gboolean
is_field_char(char c)
{
    return g_ascii_isalnum(c) || c == '_';
}

/* Reads n digits of a base after an escape into *value. */
static gboolean
parse_digits(Parser *p, int n, int base, gunichar *value)
{
    *value = 0;
    for (int i = 0; i < n; i++, p->at++) {
        int digit = g_ascii_xdigit_value(*p->at);
        if (digit < 0 || digit >= base)
            return FALSE;
        *value = *value * (gunichar)base + (gunichar)digit;
    }
    return TRUE;
}

/* One escape sequence of a Go string; p is behind the backslash. */
static gboolean
parse_escape(Parser *p, char quote, GString *out)
{
    static const char names[] = "abfnrtv\\", values[] = "\a\b\f\n\r\t\v\\";
    gunichar value;
    char c = *p->at;
    const char *name = c != '\0' ? strchr(names, c) : NULL;
    if (name != NULL || (c == quote && c != '\0')) {
        g_string_append_c(out, name != NULL ? values[name - names] : c);
        p->at++;
        return TRUE;
    }
    if (c >= '0' && c <= '7') {
        if (!parse_digits(p, 3, 8, &value) || value > 255)
            return FALSE;
        g_string_append_c(out, (char)value);
        return TRUE;
    }
    int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    p->at += digits > 0;
    if (digits == 0 || !parse_digits(p, digits, 16, &value) || value > 0x10ffff)
        return FALSE;
    if (digits == 2)
        g_string_append_c(out, (char)value);
    else
        g_string_append_unichar(out, value);
    return TRUE;
}

static gboolean
parse_character(Parser *p, GString *out, GError **error)
{
    gunichar c = g_utf8_get_char_validated(p->at, -1);
    if (c == (gunichar)-1 || c == (gunichar)-2)
        return parse_error(p, "the text is not UTF-8", error);
    g_string_append_unichar(out, c);
    p->at = g_utf8_next_char(p->at);
    return TRUE;
}

static char *
parse_quoted(Parser *p, GError **error)
{
    g_autoptr(GString) out = g_string_new(NULL);
    char quote = *p->at++;
    while (*p->at != quote) {
        if (*p->at == '\0' || *p->at == '\n') {
            parse_error(p, "the quoted text does not end", error);
            return NULL;
        }
        if (*p->at != '\\') {
            if (!parse_character(p, out, error))
                return NULL;
            continue;
        }
        p->at++;
        if (!parse_escape(p, quote, out)) {
            parse_error(p, "the escape sequence is not one of Go's", error);
            return NULL;
        }
    }
    p->at++;
    return g_string_free(g_steal_pointer(&out), FALSE);
}

static char *
parse_field(Parser *p, GError **error)
{
    skip_space(p);
    if (*p->at == '"')
        return parse_quoted(p, error);
    const char *start = p->at;
    while (is_field_char(*p->at))
        p->at++;
    if (p->at == start) {
        parse_error(p, "a field name is missing", error);
        return NULL;
    }
    return g_strndup(start, (gsize)(p->at - start));
}

static gboolean
parse_fieldpath(Parser *p, Selector *selector, GError **error)
{
    selector->field = parse_field(p, error);
    g_autoptr(GString) label = g_string_new(NULL);
    for (gboolean first = TRUE; selector->field != NULL && *p->at == '.'; first = FALSE) {
        p->at++;
        g_autofree char *part = parse_field(p, error);
        if (part == NULL)
            return FALSE;
        g_string_append_printf(label, "%s%s", first ? "" : ".", part);
    }
    selector->label = g_string_free(g_steal_pointer(&label), FALSE);
    return selector->field != NULL;
}

static gboolean
parse_operator(Parser *p, Selector *selector, GError **error)
{
    static const struct {
        const char *text;
        Operator op;
    } operators[] = {{"==", OP_EQUAL}, {"!=", OP_NOT_EQUAL}, {"~=", OP_MATCHES}};
    skip_space(p);
    gsize length = strspn(p->at, "=!~");
    for (gsize i = 0; i < G_N_ELEMENTS(operators); i++) {
        if (length == 2 && strncmp(p->at, operators[i].text, 2) == 0) {
            selector->op = operators[i].op;
            p->at += 2;
            return TRUE;
        }
    }
    return parse_error(p, "expected one of == != ~=", error);
}

static gboolean
parse_value(Parser *p, Selector *selector, GError **error)
{
    skip_space(p);
    if (*p->at == '"' || *p->at == '/' || *p->at == '|') {
        if (*p->at != '"' && selector->op != OP_MATCHES)
            return parse_error(p, "this quote is for ~= only", error);
        selector->value = parse_quoted(p, error);
        return selector->value != NULL;
    }
    const char *start = p->at;
    while (*p->at != '\0' && *p->at != ',' && !(p->at == start && strchr(".=!~", *p->at))) {
        gunichar c = g_utf8_get_char_validated(p->at, -1);
        if (c == (gunichar)-1 || c == (gunichar)-2)
            return parse_error(p, "the text is not UTF-8", error);
        if (!g_unichar_isgraph(c))
            break;
        p->at = g_utf8_next_char(p->at);
    }
    if (p->at == start)
        return parse_error(p, "a value is missing (an empty one is \"\")", error);
    selector->value = g_strndup(start, (gsize)(p->at - start));
    return TRUE;
}

static Selector *
parse_selector(Parser *p, GError **error)
{
    g_autoptr(Selector) selector = g_new0(Selector, 1);
    if (!parse_fieldpath(p, selector, error))
        return NULL;
    if (*p->at == '\0' || *p->at == ',')
        return g_steal_pointer(&selector);
    if (!parse_operator(p, selector, error) || !parse_value(p, selector, error))
        return NULL;
    if (selector->op == OP_MATCHES) {
        g_autoptr(GError) failure = NULL;
        selector->regex = g_regex_new(selector->value, G_REGEX_OPTIMIZE, 0, &failure);
        if (selector->regex == NULL) {
            parse_error(p, failure->message, error);
            return NULL;
        }
    }
    return g_steal_pointer(&selector);
}

static GPtrArray *
parse_filter(const char *text, GError **error)
{
    Parser p = {text, text};
    g_autoptr(GPtrArray) selectors = g_ptr_array_new_with_free_func((GDestroyNotify)selector_free);
    for (;;) {
        Selector *selector = parse_selector(&p, error);
        if (selector == NULL)
            return NULL;
        g_ptr_array_add(selectors, selector);
        if (*p.at == '\0')
            return g_steal_pointer(&selectors);
        if (*p.at != ',') {
            parse_error(&p, "expected a comma", error);
            return NULL;
        }
        p.at++;
    }
}

VarveFilter *
varve_filter_new(const char *const *filters, GError **error)
{
    g_autoptr(VarveFilter) filter = g_new0(VarveFilter, 1);
    filter->alternatives = g_ptr_array_new_with_free_func((GDestroyNotify)g_ptr_array_unref);
    for (; filters != NULL && *filters != NULL; filters++) {
        GPtrArray *selectors = **filters != '\0'
                                   ? parse_filter(*filters, error)
                                   : g_ptr_array_new(); /* an empty one matches everything */
        if (selectors == NULL)
            return NULL;
        g_ptr_array_add(filter->alternatives, selectors);
    }
    return g_steal_pointer(&filter);
}

void
varve_filter_free(VarveFilter *filter)
{
    if (filter == NULL)
        return;
    g_ptr_array_unref(filter->alternatives);
    g_free(filter);
}

/* --- matching --------------------------------------------------------------------------------- */

/* The value of a field, or NULL when it is not there. */
static const char *
field_value(const Selector *selector, const VarveSnapshotInfo *info)
{
    if (g_str_equal(selector->field, "name"))
        return info->name;
    if (g_str_equal(selector->field, "parent"))
        return info->parent;
    if (g_str_equal(selector->field, "kind"))
        return varve_kind_name(info->kind);
    if (g_str_equal(selector->field, "labels"))
        return g_hash_table_lookup(info->labels, selector->label);
    return NULL;
}

static gboolean
selector_match(const Selector *selector, const VarveSnapshotInfo *info)
{
    const char *value = field_value(selector, info);
    switch (selector->op) {
    case OP_PRESENT:
        return value != NULL;
    case OP_EQUAL:
        return value != NULL && g_str_equal(value, selector->value);
    case OP_NOT_EQUAL:
        return !g_str_equal(value != NULL ? value : "", selector->value);
    case OP_MATCHES:
        return g_regex_match(selector->regex, value != NULL ? value : "", 0, NULL);
    }
    return FALSE;
}

gboolean
varve_filter_match(const VarveFilter *filter, const VarveSnapshotInfo *info)
{
    for (guint i = 0; i < filter->alternatives->len; i++) {
        GPtrArray *selectors = g_ptr_array_index(filter->alternatives, i);
        gboolean all = TRUE;
        for (guint j = 0; all && j < selectors->len; j++)
            all = selector_match(g_ptr_array_index(selectors, j), info);
        if (all)
            return TRUE;
    }
    return filter->alternatives->len == 0;
}

const char *
varve_filter_required(const VarveFilter *filter, const char *field)
{
    if (filter->alternatives->len != 1)
        return NULL;
    GPtrArray *selectors = g_ptr_array_index(filter->alternatives, 0);
    for (guint i = 0; i < selectors->len; i++) {
        const Selector *selector = g_ptr_array_index(selectors, i);
        if (selector->op == OP_EQUAL && g_str_equal(selector->field, field))
            return selector->value;
    }
    return NULL;
}
