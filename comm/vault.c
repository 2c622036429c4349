/* comm/vault.c - see vault.h. */
#include "comm/vault.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

enum { PAGES_BYTES = 65536, ALIGNMENT = 16 };

/* One mapping. Which places are free is kept on the heap: the pages hold secrets alone. */
typedef struct chunk {
    struct chunk *next;
    uint8_t *pages;
    size_t bytes, n_free;
    uint32_t free[]; /* [places], of which n_free hold the number of a free one */
} chunk;

struct lmb_vault {
    size_t place, places; /* bytes of one; in a chunk */
    chunk *chunks;
};

/* sodium_malloc puts what it gives at the end of a page, so that what is aligned must be as long. */
void *lmb_secret_new(size_t n)
{
    size_t whole = (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    void *p = sodium_init() < 0 ? NULL : sodium_malloc(whole ? whole : ALIGNMENT); /* it draws what guards the bounds */
    if (p)
        memset(p, 0, whole);
    return p;
}

void lmb_secret_free(void *secret) { sodium_free(secret); }

lmb_status lmb_vault_create(size_t bytes, lmb_vault **out, lmb_error *err)
{
    lmb_vault *v = calloc(1, sizeof *v);
    if (!v)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a vault");
    v->place = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (!v->place)
        v->place = ALIGNMENT;
    v->places = v->place < PAGES_BYTES ? PAGES_BYTES / v->place : 1;
    *out = v;
    return LMB_OK;
}

static chunk *new_chunk(lmb_vault *v)
{
    size_t bytes = v->place < PAGES_BYTES ? PAGES_BYTES : v->place;
    chunk *c = calloc(1, sizeof *c + v->places * sizeof *c->free);
    if (!c)
        return NULL;
    c->pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (c->pages == MAP_FAILED) {
        free(c);
        return NULL;
    }
    if (sodium_mlock(c->pages, bytes) != 0) {
        /* lmb_secret_room has said so; what is in them stays out of core dumps all the same */
    }
    c->bytes = bytes;
    while (c->n_free < v->places) {
        c->free[c->n_free] = (uint32_t)(v->places - 1 - c->n_free);
        c->n_free++;
    }
    c->next = v->chunks;
    v->chunks = c;
    return c;
}

void *lmb_vault_take(lmb_vault *v)
{
    chunk *c = v->chunks;
    while (c && !c->n_free)
        c = c->next;
    if (!c && !(c = new_chunk(v)))
        return NULL;
    return c->pages + c->free[--c->n_free] * v->place;
}

void lmb_vault_give(lmb_vault *v, void *place)
{
    uint8_t *p = place;
    for (chunk *c = v->chunks; c && p; c = c->next)
        if (p >= c->pages && p < c->pages + c->bytes) {
            sodium_memzero(p, v->place);
            c->free[c->n_free++] = (uint32_t)((size_t)(p - c->pages) / v->place);
            return;
        }
}

void lmb_vault_destroy(lmb_vault *v)
{
    if (!v)
        return;
    for (chunk *c = v->chunks, *next; c; c = next) {
        next = c->next;
        sodium_munlock(c->pages, c->bytes); /* wipes first */
        munmap(c->pages, c->bytes);
        free(c);
    }
    free(v);
}

/* No page is touched: a server that asks for thousands of connections has not got them yet. */
static bool may_lock(void *p, size_t n)
{
#ifdef MLOCK_ONFAULT
    int rc = mlock2(p, n, MLOCK_ONFAULT);
    if (rc == 0 || errno != ENOSYS)
        return rc == 0;
#endif
    return mlock(p, n) == 0;
}

bool lmb_secret_room(size_t n, char sentence[LMB_SECRET_SENTENCE])
{
    struct rlimit limit = { 0 };
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool room = p != MAP_FAILED && may_lock(p, n);

    if (p != MAP_FAILED)
        munmap(p, n);
    getrlimit(RLIMIT_MEMLOCK, &limit);
    if (!room)
        snprintf(sentence, LMB_SECRET_SENTENCE,
                 "secrets may reach the swap file: %zu KiB of them are to be locked in memory, and the limit of this "
                 "process is %llu KiB (ulimit -l, LimitMEMLOCK= of a systemd unit)",
                 (n + 1023) / 1024, (unsigned long long)limit.rlim_cur / 1024);
    return room;
}
