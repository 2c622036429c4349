/* core/cuda/contest.c - see contest.h. */
#include "core/cuda/contest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 4, MOST_TURNS = 16 };
static const double CLEARLY = 0.97, HOPELESS = 3, ROUND_MS = 0.5;

void lmbi_contest_enter(lmbi_contest *c, const char *name, int link, int place)
{
    if (c->n == LMBI_CONTEST_MOST)
        return;
    lmbi_contestant *o = &c->of[c->n++];
    snprintf(o->name, sizeof o->name, "%s", name);
    o->link = link;
    o->place = place;
    o->ms = 0;
}

/* One round of way i; its best time so far. */
static void measure(lmbi_contest *c, int i, int turns, lmbi_contest_run *run, void *ctx)
{
    lmb_error why = LMB_ERROR_INIT;
    lmbi_contestant *o = &c->of[i];
    double ms = 0;

    if (run(ctx, i, turns, &ms, &why) != LMB_OK || !(ms >= 0)) {
        o->ms = -1;
        return;
    }
    ms = (ms > 0 ? ms : 1e-6) / turns; /* shorter than the clock can tell is not unmeasured */
    if (o->ms == 0 || ms < o->ms)
        o->ms = ms;
}

static double best(const lmbi_contest *c)
{
    double ms = -1;
    for (int i = 0; i < c->n; i++)
        if (c->of[i].ms > 0 && (ms < 0 || c->of[i].ms < ms))
            ms = c->of[i].ms;
    return ms;
}

static int turns_for(double ms)
{
    double turns = ROUND_MS / ms;
    return turns < 1 ? 1 : turns > MOST_TURNS ? MOST_TURNS : (int)turns;
}

/* The first that nobody beats clearly. */
static int winner(const lmbi_contest *c)
{
    double ms = best(c);
    for (int i = 0; i < c->n; i++)
        if (c->of[i].ms > 0 && c->of[i].ms * CLEARLY <= ms)
            return i;
    return -1;
}

void lmbi_contest_hold(lmbi_contest *c, lmbi_contest_run *run, void *ctx)
{
    c->winner = c->n == 1 ? 0 : -1;
    if (c->n < 2)
        return;
    for (int i = 0; i < c->n; i++) {
        measure(c, i, 1, run, ctx);
        if (c->of[i].ms > 0) { /* the first turn loads code: it tells nothing */
            c->of[i].ms = 0;
            measure(c, i, 1, run, ctx);
        }
    }
    double hopeless = best(c) * HOPELESS;
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < c->n; i++)
            if (c->of[i].ms > 0 && c->of[i].ms <= hopeless)
                measure(c, i, turns_for(c->of[i].ms), run, ctx);
    c->winner = winner(c);
}

void lmbi_contest_text(const lmbi_contest *c, char *to, size_t room)
{
    size_t n = 0;

    to[0] = '\0';
    for (int i = 0; i < c->n && n < room; i++) {
        const lmbi_contestant *o = &c->of[i];
        const char *comma = i ? ", " : "";
        int more = o->ms > 0 ? snprintf(to + n, room - n, "%s%s %.3g ms", comma, o->name, o->ms)
                             : snprintf(to + n, room - n, "%s%s%s", comma, o->name, o->ms < 0 ? " failed" : "");
        n += more > 0 ? (size_t)more : 0;
    }
}

/* ---- for a file ---- */

void lmbi_contest_way(const lmbi_contest *c, char to[LMBI_CONTEST_WAY + 1])
{
    if (c->winner < 0) {
        snprintf(to, LMBI_CONTEST_WAY + 1, "none");
        return;
    }
    const lmbi_contestant *o = &c->of[c->winner];
    int n = snprintf(to, LMBI_CONTEST_WAY + 1, "%s at %d", o->name, o->place);
    if (o->ms > 0 && n > 0 && n < LMBI_CONTEST_WAY)
        snprintf(to + n, (size_t)(LMBI_CONTEST_WAY + 1 - n), ", %.3g ms", o->ms);
}

bool lmbi_contest_read(const char *way, lmbi_contest *c)
{
    const char *at = strstr(way, " at "), *digit = at ? at + 4 : NULL;
    char name[LMBI_CONTEST_NAME], *end = NULL;

    *c = (lmbi_contest){ .winner = -1 };
    if (strcmp(way, "none") == 0)
        return true;
    if (!at || at == way || (size_t)(at - way) >= sizeof name || *digit < '0' || *digit > '9')
        return false;
    memcpy(name, way, (size_t)(at - way));
    name[at - way] = '\0';
    long place = strtol(digit, &end, 10);
    if (place > 1000)
        return false;
    lmbi_contest_enter(c, name, 0, (int)place);
    if (*end) { /* for people: it decides nothing */
        char *time = end + 1;
        c->of[0].ms = strtod(time, &end);
        if (time[-1] != ',' || end == time || strcmp(end, " ms") != 0)
            return false;
    }
    c->winner = 0;
    return true;
}

bool lmbi_contest_time_left(const lmbi_contest_time *t) { return t->limit < 0 || t->spent < t->limit; }

/* ---- what was decided before ---- */

struct lmbi_contests {
    lmbi_contests *next;
    char *shape;
    lmbi_contest result;
};

void lmbi_contests_destroy(lmbi_contests *all)
{
    while (all) {
        lmbi_contests *next = all->next;
        free(all->shape);
        free(all);
        all = next;
    }
}

const lmbi_contest *lmbi_contests_find(const lmbi_contests *all, const char *shape)
{
    for (; all; all = all->next)
        if (strcmp(all->shape, shape) == 0)
            return &all->result;
    return NULL;
}

void lmbi_contests_keep(lmbi_contests **all, const char *shape, const lmbi_contest *c)
{
    lmbi_contests *one = calloc(1, sizeof *one);

    if (one)
        one->shape = malloc(strlen(shape) + 1);
    if (!one || !one->shape) {
        free(one);
        return;
    }
    strcpy(one->shape, shape);
    one->result = *c;
    one->next = *all;
    *all = one;
}
