/* distill/tune/methods/random.c - points at random: hard to beat where few of many keys matter.
 *
 *   source   Bergstra, Bengio 2012, JMLR 13:281-305
 */
#include "distill/tune/method.h"

typedef struct none {
    char unused;
} none;
static const lmb_field fields[] = { LMB_FIELD_END };

static lmb_status propose(const lmb_method_view *v, double (*x)[LMB_TUNE_DIMS], lmb_error *err)
{
    (void)err;
    for (int i = 0; i < v->per_round; i++)
        for (int d = 0; d < v->space->n; d++)
            x[i][d] = lmbi_tune_uniform(v->seed, 0, v->n + i, (uint32_t)d);
    return LMB_OK;
}

const lmb_method lmbi_method_random = {
    "random", "points at random", "Bergstra, Bengio 2012", fields, sizeof(none), false, NULL, NULL, propose, NULL
};
