/* launch/softmax.c - see softmax.h. */
#include "launch/softmax.h"

#include <stdio.h>

#include "distill/quantize/softmax.h"

lmb_status lmb_without_softmax(const char *name, bool say, lmb_graph **g, lmb_error *err)
{
    lmb_graph *logits;

    LMB_TRY(lmb_pass_logits(*g, &logits, err));
    if (!logits)
        return LMB_OK;
    if (say)
        fprintf(stderr, "%s ends in Softmax, which is left out: its largest logit is of the same class\n", name);
    lmb_graph_destroy(*g);
    *g = logits;
    return LMB_OK;
}
