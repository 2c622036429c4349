/* core/base/config.h - a YAML document as a tree that remembers where everything stood.
 *
 * Idea: libyaml parses; the tree keeps file, line and column of each node, so that every later complaint
 * can point at the user's text. `--set a.b=c` edits the tree before anything is bound, so there is one
 * vocabulary. JSON is read with the same function (it is a subset of YAML).
 *
 *   limits   1 MiB of text, depth 32, 100,000 nodes; aliases and anchors are refused; duplicate keys are
 *            refused. A file that breaks a limit is E_FORMAT with the place.
 *   owns     a tree owns all its nodes and text; nodes and strings handed out are borrowed from it
 */
#ifndef LMB_CORE_BASE_CONFIG_H
#define LMB_CORE_BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { LMB_TREE_NULL, LMB_TREE_SCALAR, LMB_TREE_LIST, LMB_TREE_MAP } lmb_tree_kind;

typedef struct lmb_tree {
    lmb_tree_kind kind;
    const char *key;    /* name in the parent mapping, NULL in lists and at the root */
    const char *text;   /* SCALAR: its text                                          */
    bool quoted;        /* SCALAR: written in quotes, so never a number, bool or null */
    const char *file;   /* where it was read   */
    int line, column;   /* 1-based                                                   */
    struct lmb_tree *child, *next; /* first child; next sibling                      */
    struct lmb_config *owner;
} lmb_tree;

/* What stands for a file name in nodes that lmb_config_set made; the key follows. */
#define LMB_CONFIG_SET "--set"

typedef struct lmb_config lmb_config; /* a document: owns its tree */

LMB_MUST_CHECK lmb_status lmb_config_read(const char *path, lmb_config **out, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_config_parse(const char *text, size_t n, const char *name, lmb_config **out,
                                           lmb_error *err);
/* The same of at most `most` bytes, up to 2^30, where that is more than the usual 1 MiB, and a tenth of it in nodes,
 * which are 100,000 else. */
LMB_MUST_CHECK lmb_status lmb_config_parse_most(const char *text, size_t n, const char *name, size_t most,
                                                lmb_config **out, lmb_error *err);
/* Apply one "a.b.c=value" (value is YAML, e.g. 0.1, true, [1, 2], {name: adam}); creates what is
 * missing on the way. List items are addressed by number: layers.0.out=16. */
LMB_MUST_CHECK lmb_status lmb_config_set(lmb_config *c, const char *assignment, lmb_error *err);
void lmb_config_destroy(lmb_config *c); /* NULL is a no-op */

const lmb_tree *lmb_config_root(const lmb_config *c);
/* Child of a mapping by key, or NULL (also when `t` is NULL or no mapping). */
const lmb_tree *lmb_tree_get(const lmb_tree *t, const char *key);
/* Does it have a child of that name that is not empty? `key:` and --set key= take a section away. */
bool lmb_tree_has(const lmb_tree *t, const char *key);
size_t lmb_tree_count(const lmb_tree *t); /* children */
/* Scalar readers: E_ARG with the place when it is no such thing. */
LMB_MUST_CHECK lmb_status lmb_tree_int(const lmb_tree *t, int64_t *out, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_tree_real(const lmb_tree *t, double *out, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_tree_bool(const lmb_tree *t, bool *out, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_tree_text(const lmb_tree *t, const char **out, lmb_error *err);
/* The `name` of a section that selects a table row: a plain scalar (`optimizer: sgd`) or its key "name". */
LMB_MUST_CHECK lmb_status lmb_tree_name(const lmb_tree *t, const char **out, lmb_error *err);

/* LMB_FAIL with "file:line:column: " in front. */
lmb_status lmb_tree_fail(const lmb_tree *t, lmb_error *err, lmb_status s, const char *fmt, ...)
    LMB_PRINTF(4, 5);

struct lmb_str;
/* Append the node as YAML text, indented; used for TREE fields of the resolved configuration. */
lmb_status lmb_tree_dump(const lmb_tree *t, int indent, struct lmb_str *out);

/* Of `names` (NULL-terminated) the one nearest to `word` by edit distance, or NULL if none is near. */
const char *lmb_nearest(const char *word, const char *const *names);

#ifdef __cplusplus
}
#endif
#endif
