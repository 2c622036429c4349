/* core/base/config.c - YAML text to tree with libyaml's event parser, and --set. See config.h.
 *
 * Nodes and text come from an arena that lives as long as the document: nothing is freed one by one, so a
 * --set that replaces a subtree simply leaves the old one behind.
 */
#include "core/base/config.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "core/base/file.h"

enum {
    MAX_TEXT = 1 << 20,
    MAX_DEPTH = 32,
    MAX_NODES = 100000,
    MAX_KEY = 200,
    MAX_SETTING = 4096,
    BLOCK = 16384
};

typedef struct block {
    struct block *next;
    size_t used, cap;
    _Alignas(16) unsigned char bytes[];
} block;

struct lmb_config {
    lmb_tree *root;
    block *blocks;
    int n_nodes;
};

static void *take(lmb_config *c, size_t n, lmb_error *err)
{
    block *b = c->blocks;
    size_t size = (n + 15) & ~(size_t)15;

    if (!b || b->cap - b->used < size) {
        size_t cap = size > BLOCK ? size : BLOCK;
        b = calloc(1, sizeof *b + cap);
        if (!b) {
            LMB_FAIL(err, LMB_E_NOMEM, "out of memory while reading a configuration");
            return NULL;
        }
        b->cap = cap;
        b->next = c->blocks;
        c->blocks = b;
    }
    b->used += size;
    return b->bytes + b->used - size;
}

static char *take_text(lmb_config *c, const char *text, size_t n, lmb_error *err)
{
    char *p = take(c, n + 1, err);
    if (p)
        memcpy(p, text, n); /* blocks are zeroed: the NUL is there */
    return p;
}

/* One open list or mapping while parsing; `tail` makes appending constant time. */
typedef struct level {
    lmb_tree *node, *tail;
    const char *key; /* MAP: the key that waits for its value */
    int key_line, key_column;
} level;

typedef struct reader {
    lmb_config *c;
    const char *file;
    lmb_tree *root;
    level stack[MAX_DEPTH];
    int depth;
    bool from_set; /* nodes carry no place: `file` is the whole setting */
} reader;

#define PLACE_FAIL(r, mark, ...) place_fail(err, (r), (mark), __FILE__, __LINE__, __VA_ARGS__)
static lmb_status place_fail(lmb_error *err, const reader *r, yaml_mark_t mark, const char *file, int line,
                             const char *what)
{
    if (r->from_set)
        return lmb_fail_at(err, LMB_E_FORMAT, file, line, "%s: %s", r->file, what);
    return lmb_fail_at(err, LMB_E_FORMAT, file, line, "%s:%d:%d: %s", r->file, (int)mark.line + 1,
                       (int)mark.column + 1, what);
}

/* Where the new node goes: into the innermost open collection, or to the root. */
static void attach(reader *r, lmb_tree *node)
{
    level *l;

    if (r->depth == 0) {
        r->root = node;
        return;
    }
    l = &r->stack[r->depth - 1];
    if (l->node->kind == LMB_TREE_MAP) {
        node->key = l->key;
        /* An entry stands where its key stands: that is where a person looks. */
        node->line = l->key_line;
        node->column = l->key_column;
        l->key = NULL;
    }
    if (l->tail)
        l->tail->next = node;
    else
        l->node->child = node;
    l->tail = node;
}

static lmb_status new_node(reader *r, lmb_tree_kind kind, yaml_mark_t mark, lmb_tree **out, lmb_error *err)
{
    lmb_tree *t = NULL;

    if (++r->c->n_nodes > MAX_NODES)
        return PLACE_FAIL(r, mark, "more than 100000 values in one configuration");
    t = take(r->c, sizeof *t, err);
    if (!t)
        return LMB_E_NOMEM;
    t->kind = kind;
    t->file = r->file;
    t->line = r->from_set ? 0 : (int)mark.line + 1;
    t->column = r->from_set ? 0 : (int)mark.column + 1;
    t->owner = r->c;
    *out = t;
    attach(r, t);
    return LMB_OK;
}

static bool is_null_text(const char *s)
{
    return !*s || !strcmp(s, "~") || !strcmp(s, "null") || !strcmp(s, "Null") || !strcmp(s, "NULL");
}

static lmb_status take_key(reader *r, const char *text, size_t n, yaml_mark_t mark, lmb_error *err)
{
    level *l = &r->stack[r->depth - 1];

    if (n == 0 || n > MAX_KEY)
        return PLACE_FAIL(r, mark, "a key must have 1 to 200 characters");
    l->key = take_text(r->c, text, n, err);
    l->key_line = r->from_set ? 0 : (int)mark.line + 1;
    l->key_column = r->from_set ? 0 : (int)mark.column + 1;
    return l->key ? LMB_OK : LMB_E_NOMEM;
}

static lmb_status on_scalar(reader *r, const yaml_event_t *e, lmb_error *err)
{
    const char *text = (const char *)e->data.scalar.value;
    size_t n = e->data.scalar.length;
    const level *l = r->depth ? &r->stack[r->depth - 1] : NULL;
    bool quoted = e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    lmb_tree *t = NULL;

    if (e->data.scalar.tag)
        return PLACE_FAIL(r, e->start_mark, "tags (!...) are not supported; remove the tag");
    if (memchr(text, 0, n))
        return PLACE_FAIL(r, e->start_mark, "text with a NUL character");
    if (l && l->node->kind == LMB_TREE_MAP && !l->key)
        return take_key(r, text, n, e->start_mark, err);
    if (!quoted && is_null_text(text))
        return new_node(r, LMB_TREE_NULL, e->start_mark, &t, err);
    LMB_TRY(new_node(r, LMB_TREE_SCALAR, e->start_mark, &t, err));
    t->quoted = quoted;
    t->text = take_text(r->c, text, n, err);
    return t->text ? LMB_OK : LMB_E_NOMEM;
}

static lmb_status on_open(reader *r, lmb_tree_kind kind, const yaml_char_t *tag, yaml_mark_t mark, lmb_error *err)
{
    lmb_tree *t = NULL;

    if (tag)
        return PLACE_FAIL(r, mark, "tags (!...) are not supported; remove the tag");
    if (r->depth > 0 && r->stack[r->depth - 1].node->kind == LMB_TREE_MAP && !r->stack[r->depth - 1].key)
        return PLACE_FAIL(r, mark, "a key must be plain text, not a list or mapping");
    if (r->depth == MAX_DEPTH)
        return PLACE_FAIL(r, mark, "nested more than 32 levels deep");
    LMB_TRY(new_node(r, kind, mark, &t, err));
    r->stack[r->depth++] = (level){ .node = t };
    return LMB_OK;
}

static int by_key(const void *a, const void *b)
{
    const lmb_tree *const *x = a, *const *y = b;
    int d = strcmp((*x)->key, (*y)->key);
    return d ? d : ((*x)->line > (*y)->line) - ((*x)->line < (*y)->line);
}

/* Sorted, so that a hostile file of 50,000 keys costs no quadratic time. */
static lmb_status refuse_duplicates(const lmb_tree *map, lmb_error *err)
{
    size_t n = lmb_tree_count(map), i = 0;
    const lmb_tree **keys;
    lmb_status st = LMB_OK;

    if (n < 2)
        return LMB_OK;
    keys = malloc(n * sizeof *keys);
    if (!keys)
        return LMB_FAIL(err, LMB_E_NOMEM, "out of memory while reading a configuration");
    for (const lmb_tree *t = map->child; t; t = t->next)
        keys[i++] = t;
    qsort(keys, n, sizeof *keys, by_key);
    for (i = 1; i < n && st == LMB_OK; i++)
        if (!strcmp(keys[i]->key, keys[i - 1]->key))
            st = lmb_tree_fail(keys[i], err, LMB_E_FORMAT, "the key '%s' is already on line %d; remove one of the two",
                               keys[i]->key, keys[i - 1]->line);
    free(keys);
    return st;
}

static lmb_status on_close(reader *r, lmb_error *err)
{
    const lmb_tree *t = r->stack[--r->depth].node;
    return t->kind == LMB_TREE_MAP ? refuse_duplicates(t, err) : LMB_OK;
}

static lmb_status on_event(reader *r, const yaml_event_t *e, int *documents, lmb_error *err)
{
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        return ++*documents > 1 ? PLACE_FAIL(r, e->start_mark, "a second document; one file holds one") : LMB_OK;
    case YAML_ALIAS_EVENT: return PLACE_FAIL(r, e->start_mark, "aliases (*name) are not supported; write the value out");
    case YAML_SCALAR_EVENT:
        if (e->data.scalar.anchor)
            break;
        return on_scalar(r, e, err);
    case YAML_SEQUENCE_START_EVENT:
        if (e->data.sequence_start.anchor)
            break;
        return on_open(r, LMB_TREE_LIST, e->data.sequence_start.tag, e->start_mark, err);
    case YAML_MAPPING_START_EVENT:
        if (e->data.mapping_start.anchor)
            break;
        return on_open(r, LMB_TREE_MAP, e->data.mapping_start.tag, e->start_mark, err);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT: return on_close(r, err);
    default: return LMB_OK;
    }
    return PLACE_FAIL(r, e->start_mark, "anchors (&name) are not supported; write the value out");
}

static lmb_status parse_failed(const reader *r, const yaml_parser_t *p, lmb_error *err)
{
    char what[200];

    if (p->error == YAML_MEMORY_ERROR)
        return LMB_FAIL(err, LMB_E_NOMEM, "out of memory while reading a configuration");
    if (p->error == YAML_READER_ERROR) {
        snprintf(what, sizeof what, "byte %zu is not UTF-8 text (%s)", p->problem_offset, p->problem);
        return PLACE_FAIL(r, p->mark, what);
    }
    snprintf(what, sizeof what, "not valid YAML: %s%s%s", p->problem ? p->problem : "syntax error",
             p->context ? " " : "", p->context ? p->context : "");
    return PLACE_FAIL(r, p->problem_mark, what);
}

/* Parse `text` into nodes of `r->c`; r->root stays NULL for an empty document. */
static lmb_status parse_into(reader *r, const char *text, size_t n, lmb_error *err)
{
    lmb_status st = LMB_OK;
    yaml_parser_t parser;
    int documents = 0;
    bool more = true;

    if (!yaml_parser_initialize(&parser))
        return LMB_FAIL(err, LMB_E_NOMEM, "out of memory while reading a configuration");
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    while (st == LMB_OK && more) {
        yaml_event_t e;
        if (!yaml_parser_parse(&parser, &e)) {
            st = parse_failed(r, &parser, err);
            break;
        }
        st = on_event(r, &e, &documents, err);
        more = e.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&e);
    }
    yaml_parser_delete(&parser);
    return st;
}

lmb_status lmb_config_parse(const char *text, size_t n, const char *name, lmb_config **out, lmb_error *err)
{
    static const yaml_mark_t start = { 0, 0, 0 };
    lmb_config *c;
    reader r;
    lmb_status st = LMB_OK;

    if (n > MAX_TEXT)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s has %zu bytes; a configuration may have %d", name, n, MAX_TEXT);
    c = calloc(1, sizeof *c);
    if (!c)
        return LMB_FAIL(err, LMB_E_NOMEM, "out of memory while reading a configuration");
    memset(&r, 0, sizeof r);
    r.c = c;
    r.file = take_text(c, name, strlen(name), err);
    st = r.file ? parse_into(&r, text, n, err) : LMB_E_NOMEM;
    if (st == LMB_OK && !r.root)
        st = new_node(&r, LMB_TREE_NULL, start, &r.root, err);
    if (st != LMB_OK) {
        lmb_config_destroy(c);
        return st;
    }
    c->root = r.root;
    *out = c;
    return LMB_OK;
}

lmb_status lmb_config_read(const char *path, lmb_config **out, lmb_error *err)
{
    void *text;
    size_t n;
    lmb_status st;

    LMB_TRY(lmb_file_read(path, MAX_TEXT, &text, &n, err));
    st = lmb_config_parse(text, n, path, out, err);
    free(text);
    return st;
}

void lmb_config_destroy(lmb_config *c)
{
    if (!c)
        return;
    for (block *b = c->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(c);
}

const lmb_tree *lmb_config_root(const lmb_config *c) { return c->root; }

/* ---- --set ------------------------------------------------------------------------------------- */

static lmb_tree *child_named(lmb_tree *map, const char *key)
{
    lmb_tree *t = map->child;
    while (t && strcmp(t->key, key) != 0)
        t = t->next;
    return t;
}

static lmb_status add_child(reader *r, lmb_tree *map, const char *key, lmb_tree **out, lmb_error *err)
{
    static const yaml_mark_t none = { 0, 0, 0 };
    lmb_tree *t = NULL, **end = &map->child;

    r->depth = 0; /* attach() must not touch the tree: the node is hung in here */
    LMB_TRY(new_node(r, LMB_TREE_NULL, none, &t, err));
    t->key = take_text(r->c, key, strlen(key), err);
    if (!t->key)
        return LMB_E_NOMEM;
    while (*end)
        end = &(*end)->next;
    *end = t;
    *out = t;
    return LMB_OK;
}

/* `optimizer: sgd` is short for `optimizer: {name: sgd}`: --set optimizer.lr=0.1 needs the long form. */
static lmb_status open_up(reader *r, lmb_tree *t, lmb_error *err)
{
    lmb_tree *name = NULL, old = *t;

    if (t->kind == LMB_TREE_NULL || t->kind == LMB_TREE_SCALAR) {
        t->kind = LMB_TREE_MAP;
        t->text = NULL;
        t->quoted = false;
    }
    if (old.kind == LMB_TREE_SCALAR) {
        LMB_TRY(add_child(r, t, "name", &name, err));
        name->kind = LMB_TREE_SCALAR;
        name->text = old.text;
        name->quoted = old.quoted;
        name->file = old.file;
        name->line = old.line;
        name->column = old.column;
    }
    return LMB_OK;
}

static lmb_status step_into(reader *r, lmb_tree *at, const char *key, lmb_tree **out, lmb_error *err)
{
    lmb_tree *t = NULL;

    LMB_TRY(open_up(r, at, err));
    if (at->kind == LMB_TREE_LIST) {
        char *end;
        unsigned long i = strtoul(key, &end, 10);
        if (*key < '0' || *key > '9' || *end)
            return LMB_FAIL(err, LMB_E_ARG, "%s: '%s' must be the number of a list item (0 is the first)", r->file,
                            key);
        for (t = at->child; t && i > 0; i--)
            t = t->next;
        if (!t)
            return LMB_FAIL(err, LMB_E_ARG, "%s: item %s of a list of %zu", r->file, key, lmb_tree_count(at));
        *out = t;
        return LMB_OK;
    }
    t = child_named(at, key);
    if (t) {
        *out = t;
        return LMB_OK;
    }
    return add_child(r, at, key, out, err);
}

static int height(const lmb_tree *t)
{
    int most = 0;
    for (const lmb_tree *c = t ? t->child : NULL; c; c = c->next) {
        int h = height(c);
        most = h > most ? h : most;
    }
    return 1 + most;
}

/* Walk (and make) the way along `path`, which is cut up, then put `value` there. */
static lmb_status put(reader *r, char *path, const lmb_tree *value, lmb_error *err)
{
    lmb_tree *at = r->c->root;
    int depth = 0;

    for (char *key = path, *dot; key; key = dot) {
        dot = strchr(key, '.');
        if (dot)
            *dot++ = '\0';
        if (!*key || strlen(key) > MAX_KEY)
            return LMB_FAIL(err, LMB_E_ARG, "%s: a key between dots must have 1 to %d characters", r->file, MAX_KEY);
        if (++depth + height(value) > MAX_DEPTH)
            return LMB_FAIL(err, LMB_E_ARG, "%s: nested more than %d levels deep", r->file, MAX_DEPTH);
        LMB_TRY(step_into(r, at, key, &at, err));
    }
    at->kind = value ? value->kind : LMB_TREE_NULL;
    at->text = value ? value->text : NULL;
    at->quoted = value && value->quoted;
    at->child = value ? value->child : NULL;
    at->file = r->file;
    at->line = at->column = 0;
    return LMB_OK;
}

lmb_status lmb_config_set(lmb_config *c, const char *assignment, lmb_error *err)
{
    const char *equals = strchr(assignment, '=');
    size_t n = strlen(assignment);
    char name[MAX_SETTING + 8], *path;
    reader r;

    if (!equals || equals == assignment || n > MAX_SETTING)
        return LMB_FAIL(err, LMB_E_ARG, "--set %.80s: write section.key=value, at most %d characters", assignment,
                        MAX_SETTING);
    memset(&r, 0, sizeof r);
    r.c = c;
    r.from_set = true;
    snprintf(name, sizeof name, "--set %s", assignment);
    r.file = take_text(c, name, strlen(name), err);
    path = r.file ? take_text(c, assignment, (size_t)(equals - assignment), err) : NULL;
    if (!path)
        return LMB_E_NOMEM;
    LMB_TRY(parse_into(&r, equals + 1, strlen(equals + 1), err));
    return put(&r, path, r.root, err);
}
