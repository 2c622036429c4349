/* core/plan/memory.c - where each storage lies in the arena.
 *
 * Idea: every storage has a first and a last step. Largest first, each takes the lowest offset where it
 * overlaps no storage that is alive at the same time (greedy by size, as TensorFlow Lite Micro's memory
 * planner does). The most bytes alive at one step is a lower bound; both are reported.
 */
#include <stdlib.h>
#include <string.h>

#include "core/base/threads.h"
#include "core/plan/device.h"
#include "core/plan/internal.h"

enum { ALIGN = 64 };

static size_t aligned(size_t n) { return (n + ALIGN - 1) / ALIGN * ALIGN; }

static int by_size(const void *a, const void *b)
{
    const lmbi_storage *x = *(lmbi_storage *const *)a, *y = *(lmbi_storage *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : x > y;
}

static bool alive_together(const lmbi_storage *a, const lmbi_storage *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Lowest offset for s among the storages placed so far, which are kept sorted by offset. */
static size_t lowest_gap(const lmbi_storage *s, lmbi_storage *const *placed, int n)
{
    size_t at = 0, need = aligned(s->bytes);
    for (int i = 0; i < n; i++) {
        const lmbi_storage *o = placed[i];
        if (!alive_together(s, o))
            continue;
        if (at + need <= o->offset)
            return at;
        if (o->offset + aligned(o->bytes) > at)
            at = o->offset + aligned(o->bytes);
    }
    return at;
}

static size_t most_alive(const lmb_plan *p)
{
    size_t most = 0;
    for (int t = -1; t <= p->n_steps; t++) {
        size_t sum = 0;
        for (int i = 0; i < p->n_storage; i++) {
            const lmbi_storage *s = &p->storage[i];
            if (!s->external && s->first <= t && t <= s->last)
                sum += aligned(s->bytes);
        }
        most = sum > most ? sum : most;
    }
    return most;
}

/* Bytes of the numbers of a batch's samples, which steps that draw random numbers ask for. */
static size_t samples(const lmb_graph *g)
{
    lmb_vid x = lmb_graph_input(g, 0);
    bool random = false;

    for (int i = 0; i < g->n_nodes; i++)
        random |= (g->node[i].op->flags & LMB_OP_RANDOM) != 0;
    return random && x != LMB_NONE && g->value[x].shape.n ? sizeof(uint32_t) * (size_t)g->value[x].shape.d[0] : 0;
}

lmb_status lmbi_plan_place(lmb_plan *p, lmb_error *err)
{
    int n = 0, n_placed = 0;
    lmbi_storage **order = malloc(sizeof *order * ((size_t)p->n_storage + 1));
    lmbi_storage **placed = malloc(sizeof *placed * ((size_t)p->n_storage + 1));

    if (!order || !placed) {
        free(order);
        free(placed);
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to plan memory");
    }
    for (int i = 0; i < p->n_storage; i++)
        if (!p->storage[i].external && p->storage[i].bytes)
            order[n++] = &p->storage[i];
    qsort(order, (size_t)n, sizeof *order, by_size);
    p->arena_bytes = 0;
    for (int i = 0; i < n; i++) {
        lmbi_storage *s = order[i];
        s->offset = p->options.no_reuse ? p->arena_bytes : lowest_gap(s, placed, n_placed);
        int k = n_placed++;
        while (k > 0 && placed[k - 1]->offset > s->offset) {
            placed[k] = placed[k - 1];
            k--;
        }
        placed[k] = s;
        if (s->offset + aligned(s->bytes) > p->arena_bytes)
            p->arena_bytes = s->offset + aligned(s->bytes);
    }
    free(order);
    free(placed);
    p->live_bytes = most_alive(p);
    p->scratch_offset = p->arena_bytes;
    for (int i = 0; i < p->n_steps; i++)
        if (p->step[i].scratch > p->scratch_bytes)
            p->scratch_bytes = p->step[i].scratch;
    p->arena_bytes += aligned(p->scratch_bytes);
    if (p->device) {
        p->samples_offset = p->arena_bytes;
        p->samples_bytes = samples(p->g);
        p->arena_bytes += aligned(p->samples_bytes);
    }
    if (p->options.max_bytes && p->arena_bytes > p->options.max_bytes)
        return LMB_FAIL(err, LMB_E_NOMEM, "the plan needs %zu bytes of memory, the limit is %zu; use a smaller batch",
                        p->arena_bytes, p->options.max_bytes);
    if (p->options.no_memory)
        return LMB_OK;
    if (p->device)
        return p->device->alloc(p->device, p->arena_bytes ? p->arena_bytes : ALIGN, (void **)&p->arena, err);
    if ((double)p->arena_bytes > lmb_memory_bytes())
        return LMB_FAIL(err, LMB_E_NOMEM,
                        "the plan needs %zu bytes of memory, this machine has %.0f; use a smaller batch",
                        p->arena_bytes, lmb_memory_bytes());
    p->arena = aligned_alloc(ALIGN, p->arena_bytes ? p->arena_bytes : ALIGN);
    if (!p->arena)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu bytes of activations; use a smaller batch",
                        p->arena_bytes);
    memset(p->arena, 0, p->arena_bytes);
    return LMB_OK;
}
