/* train/stage_internal.h - the inside of a stage's compiled copy: stage.c makes it and runs it on the host,
 * stage_device.c on a device. */
#ifndef LMB_TRAIN_STAGE_INTERNAL_H
#define LMB_TRAIN_STAGE_INTERNAL_H

#include "core/plan/device.h"
#include "train/stage.h"

/* A value that crosses a cut: in the training graph and in the stage's, where its gradient comes from or goes to, its
 * place in blocks. */
typedef struct lmbi_crosser {
    lmb_vid whole, here, seed, gradient;
    size_t at, bytes;
    bool through;
} lmbi_crosser;

struct lmbi_copy {
    const lmbi_cuts *c;
    lmbi_stage_options o;
    lmb_device *device; /* NULL: the host */
    int64_t rows;
    bool last;
    lmb_graph *g;
    lmb_plan *plan;
    lmb_vid *map; /* [values of the training graph] -> in g    */
    int n_in, n_out;
    lmbi_crosser *in, *out;
    char *memory; /* four blocks: in, its gradient; out, its gradient; the device's, if there is one */
    size_t in_bytes, out_bytes, in_room, out_room;
    lmb_vid *source, *result; /* [segments] in g, LMB_NONE            */
    const float *state;
    float *to;
    lmbi_stage_there far; /* what is bound on the device */
};

static inline char *lmbi_copy_block(const lmbi_copy *c, bool out, bool gradient)
{
    return c->memory + (out ? 2 * c->in_room : 0) + (gradient ? (out ? c->out_room : c->in_room) : 0);
}

static inline const lmbi_crosser *lmbi_crosser_find(const lmbi_crosser *list, int n, lmb_vid whole)
{
    for (int i = 0; i < n; i++)
        if (list[i].whole == whole)
            return &list[i];
    return NULL;
}

/* stage_device.c: the blocks of a copy on its device, zeroed and bound. */
LMB_MUST_CHECK lmb_status lmbi_copy_blocks_there(lmbi_copy *c, size_t bytes, lmb_error *err);

#endif
