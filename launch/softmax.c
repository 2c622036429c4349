/* launch/softmax.c - see softmax.h. */
#include "launch/softmax.h"

#include <stdio.h>

#include "distill/quantize/softmax.h"

void lmb_say_outputs(const char *name, const lmb_graph *g)
{
    if (g->n_outputs > 1)
        fprintf(stderr, "%s has %d outputs: %s, the first, is taken for the scores of classes, and no integers are made of the others\n",
                name, g->n_outputs, g->output[0].name);
}

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
