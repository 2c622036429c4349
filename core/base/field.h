/* core/base/field.h - a table of rows that says what a section of a configuration may contain.
 *
 * Idea: one row is the only place an option is described. Reading YAML, `--set a.b=c`, defaults, range
 * checks, `--help`, the dump of the resolved configuration and the generated docs all come from it.
 *
 * A section is a C struct plus a lmb_field array that ends with LMB_FIELD_END. Sections nest
 * (LMB_FIELD_SECTION). Where the rows depend on a name (`optimizer: {name: sgd, ...}`) the field is a
 * LMB_FIELD_TREE: the raw node is kept, and whoever owns the table binds it with the rows of the entry
 * so named. The struct borrows text from the tree (core/base/config.h): keep the tree alive.
 */
#ifndef LMB_CORE_BASE_FIELD_H
#define LMB_CORE_BASE_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    LMB_FIELD_INT,     /* int64_t                                                             */
    LMB_FIELD_REAL,    /* double                                                              */
    LMB_FIELD_BOOL,    /* bool                                                                */
    LMB_FIELD_TEXT,    /* const char *, borrowed from the tree; "" when absent and no default */
    LMB_FIELD_CHOICE,  /* int64_t, index into `choices`                                       */
    LMB_FIELD_INTS,    /* lmb_field_ints: at most LMB_FIELD_MAX_LIST numbers                  */
    LMB_FIELD_REALS,   /* lmb_field_reals                                                     */
    LMB_FIELD_SECTION, /* nested struct described by `rows`                                   */
    LMB_FIELD_TREE     /* const struct lmb_tree *, NULL when absent                           */
} lmb_field_kind;

enum { LMB_FIELD_MAX_LIST = 32 };
typedef struct lmb_field_ints { int n; int64_t v[LMB_FIELD_MAX_LIST]; } lmb_field_ints;
typedef struct lmb_field_reals { int n; double v[LMB_FIELD_MAX_LIST]; } lmb_field_reals;

typedef struct lmb_field {
    const char *key;                /* as written in configs/, e.g. "server_lr"; NULL ends the rows */
    lmb_field_kind kind;
    size_t offset;                  /* offsetof(struct, member)                                     */
    double def, lo, hi;             /* numbers, BOOL (0/1), CHOICE (index); each item of a list     */
    const char *def_text;           /* TEXT: default; INTS/REALS: default written as YAML or NULL   */
    const char *const *choices;     /* CHOICE: names, NULL-terminated                               */
    const struct lmb_field *rows;   /* SECTION                                                      */
    const char *unit;               /* "steps", "bytes", "ms"; "" for dimensionless                 */
    const char *help;               /* one line                                                     */
} lmb_field;

#define LMB_INT(S, m, def, lo, hi, unit, help) \
    { #m, LMB_FIELD_INT, offsetof(S, m), (def), (lo), (hi), NULL, NULL, NULL, (unit), (help) }
#define LMB_REAL(S, m, def, lo, hi, unit, help) \
    { #m, LMB_FIELD_REAL, offsetof(S, m), (def), (lo), (hi), NULL, NULL, NULL, (unit), (help) }
#define LMB_BOOL(S, m, def, help) \
    { #m, LMB_FIELD_BOOL, offsetof(S, m), (def), 0, 1, NULL, NULL, NULL, "", (help) }
#define LMB_TEXT(S, m, def, help) \
    { #m, LMB_FIELD_TEXT, offsetof(S, m), 0, 0, 0, (def), NULL, NULL, "", (help) }
#define LMB_CHOICE(S, m, def, names, help) \
    { #m, LMB_FIELD_CHOICE, offsetof(S, m), (def), 0, 0, NULL, (names), NULL, "", (help) }
#define LMB_INTS(S, m, def_yaml, lo, hi, unit, help) \
    { #m, LMB_FIELD_INTS, offsetof(S, m), 0, (lo), (hi), (def_yaml), NULL, NULL, (unit), (help) }
#define LMB_REALS(S, m, def_yaml, lo, hi, unit, help) \
    { #m, LMB_FIELD_REALS, offsetof(S, m), 0, (lo), (hi), (def_yaml), NULL, NULL, (unit), (help) }
#define LMB_SECTION(S, m, sub, help) \
    { #m, LMB_FIELD_SECTION, offsetof(S, m), 0, 0, 0, NULL, NULL, (sub), "", (help) }
#define LMB_TREE(S, m, help) \
    { #m, LMB_FIELD_TREE, offsetof(S, m), 0, 0, 0, NULL, NULL, NULL, "", (help) }
#define LMB_FIELD_END { NULL, LMB_FIELD_INT, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL }

struct lmb_tree;

/* Fill every member of `out` with its default, nested sections included. Cannot fail: a malformed
 * default is a bug: tests hand a table's rows to ck_defaults (tests/fields_check.h). */
void lmb_fields_default(const lmb_field *rows, void *out);

/* Bind the mapping `node` (NULL: all defaults) to `out`.
 *   errors  E_ARG with "file:line:column: ..." for an unknown key (nearest key suggested), a wrong type,
 *           a value outside [lo, hi] or an unknown choice (choices listed); `out` is then unspecified
 *   note    the key "name" is ignored when `rows` has no such row (it selected the table entry) */
LMB_MUST_CHECK lmb_status lmb_fields_bind(const lmb_field *rows, const struct lmb_tree *node, void *out,
                                          lmb_error *err);

/* The same over what `out` holds already: what `node` does not say stays. A nested section that it names is bound anew.
 */
LMB_MUST_CHECK lmb_status lmb_fields_bind_over(const lmb_field *rows, const struct lmb_tree *node, void *out,
                                               lmb_error *err);

struct lmb_str;
/* Append the struct as YAML, indented by `indent` spaces: the resolved configuration. Reading it back
 * gives the same struct. */
lmb_status lmb_fields_dump(const lmb_field *rows, const void *in, int indent, struct lmb_str *out);
/* The same, with LMB_FIELD_MARK behind each row that is as nobody named it (a section: with all in it). What a program
 * remembers of what it did: core/base/agree.h compares it with what a later one would do. */
lmb_status lmb_fields_dump_marked(const lmb_field *rows, const void *in, int indent, struct lmb_str *out);
#define LMB_FIELD_MARK "  # default"
/* Append one help line a row: key, type, default, range, unit, help. */
void lmb_fields_help(const lmb_field *rows, int indent, struct lmb_str *out);

#ifdef __cplusplus
}
#endif
#endif
