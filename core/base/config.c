/* core/base/config.c - libyaml events -> a tree that knows where each node stood. See config.h. */
#include "core/base/config.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "core/base/file.h"
#include "core/base/str.h"

enum { MAX_TEXT = 1 << 20, MAX_DEPTH = 32, MAX_NODES = 100000, BYTES_A_NODE = 10, MAX_KEY = 200 };

typedef struct piece { struct piece *next; } piece; /* allocations of a document, freed together */
struct lmb_config {
    lmb_tree *root;
    piece *pieces;
    int nodes;
};

static void *keep(lmb_config *c, size_t bytes)
{
    piece *p = calloc(1, sizeof *p + bytes);
    if (!p)
        return NULL;
    p->next = c->pieces;
    c->pieces = p;
    return p + 1;
}

static const char *keep_text(lmb_config *c, const char *s, size_t n)
{
    char *p = keep(c, n + 1);
    return p ? memcpy(p, s, n) : NULL;
}

void lmb_config_destroy(lmb_config *c)
{
    if (!c)
        return;
    for (piece *p = c->pieces, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    free(c);
}

const lmb_tree *lmb_config_root(const lmb_config *c) { return c->root; }

/* ---- parsing ---- */

typedef struct reader {
    yaml_parser_t yaml;
    lmb_config *c;
    const char *file;
    int nodes_most;
    lmb_error *err;
} reader;

static lmb_tree *new_node(reader *r, lmb_tree_kind kind, const yaml_event_t *e)
{
    lmb_tree *t = ++r->c->nodes > r->nodes_most ? NULL : keep(r->c, sizeof *t);
    if (!t) {
        LMB_FAIL(r->err, LMB_E_FORMAT, "%s: more than %d nodes, or no memory for them", r->file, r->nodes_most);
        return NULL;
    }
    t->kind = kind;
    t->file = r->file;
    t->line = (int)e->start_mark.line + 1;
    t->column = (int)e->start_mark.column + 1;
    t->owner = r->c;
    return t;
}

static bool next_event(reader *r, yaml_event_t *e)
{
    if (yaml_parser_parse(&r->yaml, e))
        return true;
    LMB_FAIL(r->err, LMB_E_FORMAT, "%s:%d:%d: not valid YAML: %s", r->file, (int)r->yaml.problem_mark.line + 1,
             (int)r->yaml.problem_mark.column + 1, r->yaml.problem ? r->yaml.problem : "unreadable");
    return false;
}

static lmb_tree *read_node(reader *r, const yaml_event_t *e, int depth);

static bool is_null(const char *s) { return !*s || !strcmp(s, "~") || !strcmp(s, "null"); }

/* What YAML has and configurations do not: one way to write a value is enough. */
static bool refuse_extras(reader *r, const yaml_event_t *e, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (!anchor && !tag)
        return false;
    LMB_FAIL(r->err, LMB_E_FORMAT, "%s:%d:%d: %s are not supported; write the value out", r->file,
             (int)e->start_mark.line + 1, (int)e->start_mark.column + 1, anchor ? "anchors (&name)" : "tags (!name)");
    return true;
}

static lmb_tree *read_scalar(reader *r, const yaml_event_t *e)
{
    if (refuse_extras(r, e, e->data.scalar.anchor, e->data.scalar.tag))
        return NULL;
    const char *text = (const char *)e->data.scalar.value;
    size_t n = e->data.scalar.length;
    lmb_tree *t = new_node(r, LMB_TREE_SCALAR, e);

    if (!t)
        return NULL;
    if (memchr(text, 0, n)) {
        lmb_tree_fail(t, r->err, LMB_E_FORMAT, "a NUL byte in a text");
        return NULL;
    }
    t->quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    t->text = keep_text(r->c, text, n);
    if (t->text && !t->quoted && is_null(t->text))
        t->kind = LMB_TREE_NULL;
    return t->text ? t : NULL;
}

static int by_key(const void *a, const void *b)
{
    const lmb_tree *const *x = a, *const *y = b;
    int d = strcmp((*x)->key, (*y)->key);
    return d ? d : ((*x)->line > (*y)->line) - ((*x)->line < (*y)->line);
}

/* Sorted, so that a hostile text of 50,000 keys costs no quadratic time. */
static bool has_duplicates(reader *r, const lmb_tree *map)
{
    size_t n = lmb_tree_count(map), i = 0;
    const lmb_tree **v = malloc((n + 1) * sizeof *v);

    if (!v)
        return LMB_FAIL(r->err, LMB_E_NOMEM, "no memory to read %s", r->file) != LMB_OK;
    for (const lmb_tree *c = map->child; c; c = c->next)
        v[i++] = c;
    qsort(v, n, sizeof *v, by_key);
    for (i = 1; i < n && strcmp(v[i]->key, v[i - 1]->key) != 0;)
        i++;
    if (i < n)
        lmb_tree_fail(v[i], r->err, LMB_E_FORMAT, "the key '%s' is already on line %d; remove one of the two",
                      v[i]->key, v[i - 1]->line);
    free(v);
    return i < n;
}

static lmb_tree *read_children(reader *r, lmb_tree *t, bool map, int depth)
{
    lmb_tree **tail = &t->child;

    if (depth >= MAX_DEPTH) {
        lmb_tree_fail(t, r->err, LMB_E_FORMAT, "nested deeper than %d levels", MAX_DEPTH);
        return NULL;
    }
    for (;;) {
        yaml_event_t e;
        const char *key = NULL;
        lmb_tree *child = NULL;
        if (!next_event(r, &e))
            return NULL;
        if (e.type == YAML_SEQUENCE_END_EVENT || e.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&e);
            return map && has_duplicates(r, t) ? NULL : t;
        }
        if (map) {
            lmb_tree *k = e.type == YAML_SCALAR_EVENT ? read_scalar(r, &e) : NULL;
            if (!k && r->err && r->err->status == LMB_OK)
                LMB_FAIL(r->err, LMB_E_FORMAT, "%s:%d: a key must be plain text", r->file, (int)e.start_mark.line + 1);
            yaml_event_delete(&e);
            if (!k)
                return NULL;
            key = k->text;
            if (!*key || strlen(key) > MAX_KEY) {
                lmb_tree_fail(k, r->err, LMB_E_FORMAT, "a key must have 1 to %d characters", MAX_KEY);
                return NULL;
            }
            if (!next_event(r, &e))
                return NULL;
            child = read_node(r, &e, depth + 1);
            if (child) {
                child->line = k->line;
                child->column = k->column;
            }
        } else {
            child = read_node(r, &e, depth + 1);
        }
        yaml_event_delete(&e);
        if (!child)
            return NULL;
        child->key = key;
        *tail = child;
        tail = &child->next;
    }
}

static lmb_tree *read_node(reader *r, const yaml_event_t *e, int depth)
{
    lmb_tree *t;
    switch (e->type) {
    case YAML_SCALAR_EVENT: return read_scalar(r, e);
    case YAML_SEQUENCE_START_EVENT:
        if (refuse_extras(r, e, e->data.sequence_start.anchor, e->data.sequence_start.tag))
            return NULL;
        t = new_node(r, LMB_TREE_LIST, e);
        return t ? read_children(r, t, false, depth) : NULL;
    case YAML_MAPPING_START_EVENT:
        if (refuse_extras(r, e, e->data.mapping_start.anchor, e->data.mapping_start.tag))
            return NULL;
        t = new_node(r, LMB_TREE_MAP, e);
        return t ? read_children(r, t, true, depth) : NULL;
    default:
        LMB_FAIL(r->err, LMB_E_FORMAT, "%s:%d:%d: aliases (*name) are not supported; write the value out", r->file,
                 (int)e->start_mark.line + 1, (int)e->start_mark.column + 1);
        return NULL;
    }
}

static lmb_tree *read_document(reader *r)
{
    lmb_tree *root = NULL;
    for (;;) {
        yaml_event_t e;
        if (!next_event(r, &e))
            return NULL;
        yaml_event_type_t type = e.type;
        if (type == YAML_SCALAR_EVENT || type == YAML_SEQUENCE_START_EVENT || type == YAML_MAPPING_START_EVENT ||
            type == YAML_ALIAS_EVENT) {
            if (root)
                LMB_FAIL(r->err, LMB_E_FORMAT, "%s:%d: more than one document", r->file, (int)e.start_mark.line + 1);
            root = root ? NULL : read_node(r, &e, 0);
            if (!root)
                type = YAML_NO_EVENT;
        }
        if (type == YAML_STREAM_END_EVENT && !root) {
            yaml_event_t at = e;
            root = new_node(r, LMB_TREE_MAP, &at); /* an empty file is an empty mapping */
        }
        yaml_event_delete(&e);
        if (type == YAML_NO_EVENT)
            return NULL;
        if (type == YAML_STREAM_END_EVENT)
            return root;
    }
}

static lmb_tree *parse_into(lmb_config *c, const char *text, size_t n, const char *name, int nodes_most,
                            lmb_error *err)
{
    reader r = { .c = c, .nodes_most = nodes_most, .err = err };
    lmb_tree *root = NULL;

    r.file = keep_text(c, name, strlen(name));
    if (!r.file || !yaml_parser_initialize(&r.yaml)) {
        LMB_FAIL(err, LMB_E_NOMEM, "no memory to read %s", name);
        return NULL;
    }
    yaml_parser_set_input_string(&r.yaml, (const unsigned char *)text, n);
    root = read_document(&r);
    yaml_parser_delete(&r.yaml);
    if (!root && err && err->status == LMB_OK)
        LMB_FAIL(err, LMB_E_NOMEM, "no memory to read %s", name);
    return root;
}

lmb_status lmb_config_parse_most(const char *text, size_t n, const char *name, size_t most, lmb_config **out,
                                 lmb_error *err)
{
    lmb_error local = LMB_ERROR_INIT, *e = err ? err : &local;
    lmb_config *c;

    if (n > most)
        return LMB_FAIL(e, LMB_E_FORMAT, "%s: %zu bytes; at most %zu are read", name, n, most);
    c = calloc(1, sizeof *c);
    if (!c)
        return LMB_FAIL(e, LMB_E_NOMEM, "no memory to read %s", name);
    c->root = parse_into(c, text, n, name, most > MAX_TEXT ? (int)(most / BYTES_A_NODE) : MAX_NODES, e);
    if (!c->root) {
        lmb_config_destroy(c);
        return e->status;
    }
    *out = c;
    return LMB_OK;
}

lmb_status lmb_config_parse(const char *text, size_t n, const char *name, lmb_config **out, lmb_error *err)
{
    return lmb_config_parse_most(text, n, name, MAX_TEXT, out, err);
}

lmb_status lmb_config_read(const char *path, lmb_config **out, lmb_error *err)
{
    void *text;
    size_t n;
    LMB_TRY(lmb_file_read(path, MAX_TEXT, &text, &n, err));
    lmb_status st = lmb_config_parse(text, n, path, out, err);
    free(text);
    return st;
}

/* ---- --set ---- */

static lmb_tree *child_by_number(lmb_tree *t, const char *part)
{
    char *end;
    long i = strtol(part, &end, 10);
    lmb_tree *c = t->child;
    if (*end || i < 0)
        return NULL;
    while (c && i-- > 0)
        c = c->next;
    return c;
}

static int height(const lmb_tree *t)
{
    int most = 0;
    for (const lmb_tree *c = t->child; c; c = c->next) {
        int h = height(c);
        most = h > most ? h : most;
    }
    return 1 + most;
}

lmb_status lmb_config_set(lmb_config *c, const char *assignment, lmb_error *err)
{
    const char *eq = strchr(assignment, '=');
    lmb_error local = LMB_ERROR_INIT, *e = err ? err : &local;

    if (!eq || eq == assignment)
        return LMB_FAIL(e, LMB_E_ARG, "--set %s: write it as key=value, for example train.epochs=10", assignment);
    char source[MAX_KEY + 8]; /* of several --set, which one */
    snprintf(source, sizeof source, LMB_CONFIG_SET " %.*s", (int)(eq - assignment), assignment);
    lmb_tree *value = parse_into(c, eq + 1, strlen(eq + 1), source, MAX_NODES, e);
    if (!value)
        return e->status;
    if (!eq[1])
        value->kind = LMB_TREE_NULL; /* `key=` takes it away */
    lmb_tree *at = c->root;
    int room = MAX_DEPTH - height(value);
    for (const char *p = assignment; at;) {
        size_t n = strcspn(p, ".=");
        if (room-- <= 0 || n > MAX_KEY)
            return LMB_FAIL(e, LMB_E_ARG, "--set %.80s...: nested deeper than %d levels, or a key of more than %d "
                            "characters", assignment, MAX_DEPTH, MAX_KEY);
        const char *part = keep_text(c, p, n);
        bool last = p[n] == '=';
        if (!part || !*part)
            return LMB_FAIL(e, LMB_E_ARG, "--set %s: an empty name in the key", assignment);
        if (at->kind == LMB_TREE_NULL)
            at->kind = LMB_TREE_MAP;
        if (at->kind == LMB_TREE_SCALAR) { /* `optimizer: sgd` becomes {name: sgd} */
            lmb_tree *name = keep(c, sizeof *name);
            if (!name)
                return LMB_FAIL(e, LMB_E_NOMEM, "no memory for --set");
            *name = *at;
            name->key = "name";
            name->next = NULL;
            at->kind = LMB_TREE_MAP;
            at->child = name;
        }
        lmb_tree *child = at->kind == LMB_TREE_LIST ? child_by_number(at, part) : (lmb_tree *)lmb_tree_get(at, part);
        if (!child && at->kind == LMB_TREE_LIST)
            return LMB_FAIL(e, LMB_E_ARG, "--set %s: there is no item %s in the list", assignment, part);
        if (!child) {
            lmb_tree **tail = &at->child;
            child = keep(c, sizeof *child);
            if (!child)
                return LMB_FAIL(e, LMB_E_NOMEM, "no memory for --set");
            *child = (lmb_tree){
                .kind = LMB_TREE_NULL, .key = part, .file = value->file, .line = 1, .column = 1, .owner = c
            };
            while (*tail)
                tail = &(*tail)->next;
            *tail = child;
        }
        if (last) {
            lmb_tree *next = child->next;
            const char *key = child->key;
            *child = *value;
            child->next = next;
            child->key = key;
            return LMB_OK;
        }
        at = child;
        p += n + 1;
    }
    return LMB_OK;
}
