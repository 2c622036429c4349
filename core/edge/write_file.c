/* core/edge/write_file.c - the end of writing: where tensors live in working memory, and the sections of the file. */
#include <stdio.h>
#include <stdlib.h>

#include "core/edge/plan.h"
#include "core/edge/write_internal.h"

/* In place: the op is elementwise and reads this input for the last time. */
static int place_to_take(const lmb_edge_writer *w, const lmbi_edge_life *life, int y)
{
    const uint8_t *r = w->ops[y - 1];
    if (r[0] != LMB_EDGE_ADD && r[0] != LMB_EDGE_TABLE)
        return -1;
    for (int i = 0; i < r[1]; i++) {
        int x = lmbi_edge_u16(r + 4 + 2 * i);
        if (life[x].last == y - 1 && life[x].bytes == life[y].bytes)
            return x;
    }
    return -1;
}

/* Tensor t is written at time t - 1 (the op's index) and lives until its last reader has run. */
static int plan_memory(lmb_edge_writer *w)
{
    int n = w->n_tensors;
    lmbi_edge_life *life = (lmbi_edge_life *)malloc((size_t)n * sizeof *life);
    int *order = (int *)malloc((size_t)n * sizeof *order);
    if (!life || !order) {
        free(life);
        free(order);
        return lmbi_write_fail(w, LMB_EDGE_E_NOMEM, "out of memory for the memory plan");
    }
    for (int t = 0; t < n; t++)
        life[t] = (lmbi_edge_life){ w->tensors[t].bytes, t - 1, t - 1, -1, 0 };
    for (int op = 0; op < n - 1; op++)
        for (int i = 0; i < w->ops[op][1]; i++)
            life[lmbi_edge_u16(w->ops[op] + 4 + 2 * i)].last = op;
    for (int t = 1; t < n; t++)
        life[t].shares = place_to_take(w, life, t);
    lmbi_edge_plan(life, n, order);
    for (int t = 0; t < n; t++)
        w->tensors[t].place = life[t].place;
    free(life);
    free(order);
    return 0;
}

static void put_tensor(uint8_t *r, const lmb_edge_tensor *t, uint32_t name)
{
    lmbi_write_u32(r, t->h);
    lmbi_write_u32(r + 4, t->w);
    lmbi_write_u32(r + 8, t->c);
    r[12] = (uint8_t)t->type;
    r[13] = (uint8_t)t->layout;
    r[14] = t->zero_point;
    lmbi_write_f32(r + 16, t->scale);
    lmbi_write_u32(r + 20, name);
    lmbi_write_u64(r + 24, t->place);
}

int lmbi_write_assemble(lmb_edge_writer *w, const lmbi_write_section *all, int n, lmb_edge_buffer *out)
{
    uint32_t count = 0;
    for (int i = 0; i < n; i++)
        count += all[i].bytes > 0;
    size_t head = LMBI_EDGE_HEADER + (size_t)count * LMBI_EDGE_SECTION, bytes = head, start = out->size;
    for (int i = 0; i < n; i++)
        if (all[i].bytes)
            bytes = (size_t)lmbi_edge_round_up(bytes) + all[i].bytes;
    uint8_t *file = lmbi_write_room(w, out, bytes);
    if (!file)
        return -1;
    uint8_t *entry = file + LMBI_EDGE_HEADER;
    size_t at = head;
    for (int i = 0; i < n; i++) {
        if (!all[i].bytes)
            continue;
        at = (size_t)lmbi_edge_round_up(at);
        lmbi_write_u32(entry, all[i].type);
        lmbi_write_u64(entry + 8, at);
        lmbi_write_u64(entry + 16, all[i].bytes);
        if (all[i].data) {
            memcpy(file + at, all[i].data, all[i].bytes);
            lmbi_write_u32(entry + 4, lmbi_edge_crc32c(0, all[i].data, all[i].bytes));
        }
        at += all[i].bytes;
        entry += LMBI_EDGE_SECTION;
    }
    memcpy(file, LMBI_EDGE_MAGIC, 8);
    lmbi_write_u16(file + 8, 1);
    lmbi_write_u64(file + 16, bytes);
    lmbi_write_u32(file + 24, count);
    lmbi_write_u32(file + 28, 1);
    lmbi_write_u32(file + 12, lmbi_edge_crc32c(0, file, head)); /* while the field is still zero */
    lmb_edge_model m;
    lmb_edge_status s = lmb_edge_open(file, bytes, &m, w->why, sizeof w->why);
    if (s != LMB_EDGE_OK) {
        w->status = s;
        out->size = start;
        return -1;
    }
    return 0;
}

static int finish(lmb_edge_writer *w, size_t signature_bytes, lmb_edge_buffer *out)
{
    if (w->status != LMB_EDGE_OK)
        return -1;
    if (w->n_tensors < 2)
        return lmbi_write_fail(w, LMB_EDGE_E_ARG, "a model needs an input and at least one op");
    if (plan_memory(w) != 0)
        return -1;
    size_t n = (size_t)w->n_tensors;
    uint8_t *records = (uint8_t *)calloc(n, LMBI_EDGE_TENSOR);
    if (!records)
        return lmbi_write_fail(w, LMB_EDGE_E_NOMEM, "out of memory for the tensor records");
    for (size_t i = 0; i < n; i++)
        put_tensor(records + i * LMBI_EDGE_TENSOR, &w->tensors[i], w->name_at[i]);
    const lmbi_write_section all[] = {
        { LMBI_EDGE_TYPE('M', 'E', 'T', 'A'), w->meta.data, w->meta.size },
        { LMBI_EDGE_TYPE('N', 'A', 'M', 'E'), w->names.data, w->names.size },
        { LMBI_EDGE_TYPE('T', 'E', 'N', 'S'), records, n * LMBI_EDGE_TENSOR },
        { LMBI_EDGE_TYPE('O', 'P', 'S', ' '), w->ops, (n - 1) * LMBI_EDGE_OP },
        { LMBI_EDGE_TYPE('W', 'T', 'S', ' '), w->weights.data, w->weights.size },
        { LMBI_EDGE_TYPE('Q', 'N', 'T', ' '), w->constants.data, w->constants.size },
        { LMBI_EDGE_TYPE('S', 'I', 'G', 'N'), NULL, signature_bytes },
    };
    int bad = lmbi_write_assemble(w, all, (int)(sizeof all / sizeof all[0]), out);
    free(records);
    return bad;
}

lmb_edge_status lmb_edge_write_finish(lmb_edge_writer *w, size_t signature_bytes, lmb_edge_buffer *out, char *why,
                                      size_t why_cap)
{
    if (finish(w, signature_bytes, out) != 0 && why && why_cap)
        snprintf(why, why_cap, "%s", w->why);
    return w->status;
}
