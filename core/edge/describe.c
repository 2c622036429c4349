/* core/edge/describe.c - what may be asked of a model and is not needed to run it: a program that does not ask does not
 * link it. */
#include "core/edge/internal.h"

uint64_t lmb_edge_op_macs(const lmb_edge_model *m, uint32_t i)
{
    lmb_edge_op op;
    lmb_edge_tensor y;
    lmb_edge_op_at(m, i, &op);
    lmb_edge_tensor_at(m, i + 1, &y);
    return (uint64_t)y.h * y.w * op.n_weights;
}

uint64_t lmb_edge_macs(const lmb_edge_model *m)
{
    /* No overflow: output pixels and taps share the 2^28 of a padded input, so an op stays below 2^54. */
    uint64_t sum = 0;
    for (uint32_t i = 0; i < m->n_ops; i++)
        sum += lmb_edge_op_macs(m, i);
    return sum;
}

uint64_t lmb_edge_work(const lmb_edge_model *m)
{
    uint64_t sum = 0; /* of less than 2^54 each, as above */
    for (uint32_t i = 0; i < m->n_ops; i++) {
        lmb_edge_op op;
        lmb_edge_tensor x, y;
        lmb_edge_op_at(m, i, &op);
        lmb_edge_tensor_at(m, op.in[0], &x);
        lmb_edge_tensor_at(m, i + 1, &y);
        sum += (uint64_t)x.count + y.count + (uint64_t)y.h * y.w * op.n_weights;
        if (op.kind == LMB_EDGE_MAX_POOL)
            sum += (uint64_t)op.kernel[0] * op.kernel[1] * y.count;
    }
    return sum;
}

uint64_t lmb_edge_parameters(const lmb_edge_model *m)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < m->n_ops; i++) {
        lmb_edge_op op;
        lmb_edge_tensor y;
        lmb_edge_op_at(m, i, &op);
        lmb_edge_tensor_at(m, i + 1, &y);
        if (op.weights)
            sum += (uint64_t)op.n_weights + y.c;
    }
    return sum;
}

const char *lmb_edge_meta(const lmb_edge_model *m, const char *key, size_t *bytes)
{
    const char *line = (const char *)m->meta, *end = line + m->meta_bytes;
    size_t k = strlen(key);
    while (line < end) {
        const char *stop = (const char *)memchr(line, '\n', (size_t)(end - line));
        if ((size_t)(stop - line) > k && memcmp(line, key, k) == 0 && line[k] == '=') {
            *bytes = (size_t)(stop - line) - k - 1;
            return line + k + 1;
        }
        line = stop + 1;
    }
    return NULL;
}
