/* core/plan/choice.c - the table of choices and its text. See choice.h. */
#include "core/plan/choice.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/plan/internal.h"

enum { MAX_KEY = 1000, MAX_NAME = 63, MAX_CHOICES = 100000 };

typedef struct choice { char *key; char name[MAX_NAME + 1]; bool asked; } choice;

struct lmb_choices {
    int threads, n, cap, measured, lost;
    bool measuring;
    choice *at; /* sorted by key */
    pthread_mutex_t lock;
};

lmb_status lmb_choices_create(int threads, lmb_choices **out, lmb_error *err)
{
    lmb_choices *c = calloc(1, sizeof *c);
    if (!c)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a table of kernels");
    c->threads = threads;
    pthread_mutex_init(&c->lock, NULL);
    *out = c;
    return LMB_OK;
}

void lmb_choices_destroy(lmb_choices *c)
{
    if (!c)
        return;
    for (int i = 0; i < c->n; i++)
        free(c->at[i].key);
    free(c->at);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void lmb_choices_measuring(lmb_choices *c, bool on) { c->measuring = on; }
int lmb_choices_count(const lmb_choices *c) { return c->n; }
int lmb_choices_measured(const lmb_choices *c) { return c->measured; }
int lmb_choices_lost(const lmb_choices *c) { return c->lost; }
void lmbi_choices_lose(lmb_choices *c) { c->lost++; }
int lmbi_choices_threads(const lmb_choices *c) { return c->threads; }
bool lmbi_choices_measuring(const lmb_choices *c) { return c->measuring; }
void lmbi_choices_lock(lmb_choices *c) { pthread_mutex_lock(&c->lock); }
void lmbi_choices_unlock(lmb_choices *c) { pthread_mutex_unlock(&c->lock); }

/* The place of a key, or where it would be. */
static int place(const lmb_choices *c, const char *key, bool *there)
{
    int lo = 0, hi = c->n;

    while (lo < hi) {
        int mid = (lo + hi) / 2, order = strcmp(c->at[mid].key, key);
        if (order == 0) {
            *there = true;
            return mid;
        }
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *there = false;
    return lo;
}

const char *lmbi_choices_find(lmb_choices *c, const char *key)
{
    bool there;
    int i = place(c, key, &there);
    if (there)
        c->at[i].asked = true;
    return there ? c->at[i].name : NULL;
}

/* over: in place of the name that the key has. */
static lmb_status put(lmb_choices *c, const char *key, const char *name, size_t name_n, bool over, lmb_error *err)
{
    bool there;
    int i = place(c, key, &there);

    if (there && over) {
        memset(c->at[i].name, 0, sizeof c->at[i].name);
        memcpy(c->at[i].name, name, name_n);
    }
    if (there || c->n == MAX_CHOICES)
        return LMB_OK;
    if (c->n == c->cap) {
        int cap = c->cap * 2 + 64;
        choice *a = realloc(c->at, sizeof *a * (size_t)cap);
        if (!a)
            return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a table of kernels");
        c->at = a;
        c->cap = cap;
    }
    size_t n = strlen(key) + 1;
    char *copy = malloc(n);
    if (!copy)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a table of kernels");
    memcpy(copy, key, n);
    memmove(&c->at[i + 1], &c->at[i], sizeof *c->at * (size_t)(c->n - i));
    c->at[i] = (choice){ .key = copy };
    memcpy(c->at[i].name, name, name_n);
    c->n++;
    return LMB_OK;
}

/* What a line of the text can hold: a model's file may bring attributes of any bytes. */
static bool fits(const char *text, size_t most)
{
    size_t n = 0;
    for (; text[n]; n++)
        if (n == most || text[n] < ' ' || text[n] > '~')
            return false;
    return n > 0;
}

lmb_status lmbi_choices_put(lmb_choices *c, const char *key, const char *name, bool measured, lmb_error *err)
{
    size_t n = strlen(name);
    if (!fits(key, MAX_KEY) || !fits(name, MAX_NAME))
        return LMB_OK; /* not worth a failure: it is found out anew next time */
    c->measured += measured;
    LMB_TRY(put(c, key, name, n, true, err));
    (void)lmbi_choices_find(c, key);
    return LMB_OK;
}

const char *lmb_choices_find(lmb_choices *c, const char *key)
{
    lmbi_choices_lock(c);
    const char *name = lmbi_choices_find(c, key);
    lmbi_choices_unlock(c);
    return name;
}

lmb_status lmb_choices_put(lmb_choices *c, const char *key, const char *name, lmb_error *err)
{
    lmbi_choices_lock(c);
    lmb_status st = lmbi_choices_put(c, key, name, true, err);
    lmbi_choices_unlock(c);
    return st;
}

void lmb_choices_text(const lmb_choices *c, bool asked, lmb_str *out)
{
    for (int i = 0; i < c->n; i++)
        if (!asked || c->at[i].asked)
            lmb_str_addf(out, "%s\t%s\n", c->at[i].key, c->at[i].name);
}

/* One line of [at, end): key and name, or false. *next: behind it. */
static bool line(const char *at, const char *end, const char **tab, const char **next)
{
    *tab = NULL;
    for (const char *p = at; p < end; p++) {
        if (*p == '\n') {
            *next = p + 1;
            return *tab && *tab > at && *tab - at <= MAX_KEY && p > *tab + 1 && p - *tab - 1 <= MAX_NAME;
        }
        if (*p == '\t' && !*tab)
            *tab = p;
        else if (*p < ' ' || *p > '~')
            return false;
    }
    return false;
}

lmb_status lmb_choices_add(lmb_choices *c, const char *text, size_t n, lmb_error *err)
{
    const char *end = text + n, *tab = NULL, *next = end;
    char key[MAX_KEY + 1];
    int lines = 0;
    lmb_status st = LMB_OK;

    for (const char *at = text; at < end; at = next)
        if (++lines > MAX_CHOICES || !line(at, end, &tab, &next))
            return LMB_FAIL(err, LMB_E_FORMAT, "line %d of a table of kernels is none", lines);
    lmbi_choices_lock(c);
    for (const char *at = text; at < end && st == LMB_OK; at = next) {
        line(at, end, &tab, &next);
        memcpy(key, at, (size_t)(tab - at));
        key[tab - at] = '\0';
        st = put(c, key, tab + 1, (size_t)(next - tab - 2), false, err);
    }
    lmbi_choices_unlock(c);
    return st;
}
