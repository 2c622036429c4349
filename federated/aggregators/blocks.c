/* federated/aggregators/blocks.c - see blocks.h. */
#include "federated/aggregators/blocks.h"

#include <stdlib.h>

enum { FLOATS = 1 << 20, NARROW = 64, WIDE = 4096 };

lmb_status lmbi_blocks_open(lmbi_blocks *b, const lmb_updates *u, lmb_error *err)
{
    size_t fair = FLOATS / (size_t)(u->count > 0 ? u->count : 1);

    *b = (lmbi_blocks){ .u = u, .width = fair < NARROW ? NARROW : fair > WIDE ? WIDE : fair };
    b->rows = malloc(sizeof *b->rows * b->width * (size_t)(u->count > 0 ? u->count : 1));
    if (!b->rows)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for blocks of %d updates", u->count);
    return LMB_OK;
}

lmb_status lmbi_blocks_next(lmbi_blocks *b, bool *more, lmb_error *err)
{
    b->at += b->count;
    *more = b->at < b->u->n;
    b->count = b->u->n - b->at < b->width ? b->u->n - b->at : b->width;
    for (int i = 0; *more && i < b->u->count; i++)
        LMB_TRY(b->u->read(b->u->ctx, i, b->at, b->count, b->rows + (size_t)i * b->width, err));
    return LMB_OK;
}

void lmbi_blocks_close(lmbi_blocks *b) { free(b->rows); }
