/* tests/e2e/end_in_softmax.c - a model as others would write it: in ONNX's own operators, with a Softmax at its end or
 * without, or with what its last layer reads as a second output.
 *   end_in_softmax IN.onnx PLAIN.onnx SOFTMAX.onnx TWO.onnx */
#include <stdio.h>

#include "core/graph/op.h"
#include "core/onnx/onnx.h"

int main(int argc, char **argv)
{
    const lmb_onnx_export_options strict = { .strict = true };
    lmb_error err = LMB_ERROR_INIT;
    lmb_graph *g = NULL;

    if (argc != 5) {
        fprintf(stderr, "usage: end_in_softmax IN.onnx PLAIN.onnx SOFTMAX.onnx TWO.onnx\n");
        return 2;
    }
    lmb_status st = lmb_onnx_read(argv[1], NULL, &g, &err);
    if (st == LMB_OK)
        st = lmb_onnx_write(argv[2], g, &strict, &err);
    if (st == LMB_OK) {
        const lmb_node *last = &g->node[g->value[g->output[0].value].node];
        st = lmb_graph_output_add(g, "features", last->in[0], &err);
    }
    if (st == LMB_OK)
        st = lmb_onnx_write(argv[4], g, &strict, &err);
    if (st == LMB_OK) {
        g->n_outputs = 1;
        lmb_builder b = lmb_builder_of(g, &err);
        lmb_graph_output *answer = &g->output[0];
        st = lmb_graph_rename(g, answer->value, answer->name, &err); /* as it is called without */
        answer->value = lmb_emit(&b, "Softmax", NULL, LMB_IN(answer->value), LMB_ATTRS(LMB_AINT("axis", 1)));
        answer->name = "probabilities";
        if (st == LMB_OK)
            st = lmb_builder_status(&b);
    }
    if (st == LMB_OK)
        st = lmb_onnx_write(argv[3], g, &strict, &err);
    if (st != LMB_OK)
        fprintf(stderr, "%s\n", err.msg);
    lmb_graph_destroy(g);
    return st != LMB_OK;
}
