/* federated/terms/terms.c - see term.h: SCAFFOLD's and FedNova's part of a client.
 *
 *   scaffold  Every gradient is corrected by c - c_i, the difference between the mean drift of all clients and one's
 *             own. After a travel of K a (K steps of rate a) from x to y the own one becomes c_i + (x - y) / (K a) - c
 *             (option II),
 *             and its change is sent.
 *             source: Karimireddy et al., SCAFFOLD, ICML 2020, arXiv:1910.06378, algorithm 1
 *   fednova   Clients with more samples make more steps and would pull more than their share: what is sent is the
 *             change for a travel of 1, and the travel.
 *             source: Wang et al., NeurIPS 2020, arXiv:2007.07481, section 4
 *
 * Both are stated for plain SGD. With momentum a gradient goes on moving the weights, and the sum of rates becomes what
 * a gradient of 1 would have travelled (FedNova, section 4: the norm of a_i); optimizers of which that can not be said
 * are refused (federated/local.c).
 */
#include <string.h>

#include "federated/terms/term.h"

static size_t as_many(size_t values) { return values; }
static size_t one(size_t values)
{
    (void)values;
    return 1;
}

static void scaffold_begin(size_t values, const float *c, const float *mine, float *shift)
{
    for (size_t i = 0; i < values; i++)
        shift[i] = c[i] - mine[i];
}

static void scaffold_finish(size_t values, double travel, const float *c, float *delta, float *change, float *mine)
{
    float per = travel > 0 ? (float)(1 / travel) : 0;
    for (size_t i = 0; i < values; i++) {
        change[i] = -c[i] - per * delta[i]; /* x - y is -delta */
        mine[i] += change[i];
    }
}

static void fednova_finish(size_t values, double travel, const float *sent, float *delta, float *extra, float *memory)
{
    float per = travel > 0 ? (float)(LMB_FEDNOVA_UNIT / travel) : 0;
    (void)sent, (void)memory;
    for (size_t i = 0; i < values; i++)
        delta[i] *= per;
    extra[0] = (float)(travel / LMB_FEDNOVA_UNIT);
}

static const lmb_term scaffold = { "scaffold", "gradients corrected by control variates, which clients keep", as_many,
    true, scaffold_begin, scaffold_finish };
static const lmb_term fednova = { "fednova", "changes normalised by the steps behind them", one, false, NULL,
    fednova_finish };
const lmb_term *const lmb_terms[] = { &scaffold, &fednova, NULL };

const lmb_term *lmb_term_find(const char *name)
{
    for (int i = 0; lmb_terms[i]; i++)
        if (strcmp(lmb_terms[i]->name, name) == 0)
            return lmb_terms[i];
    return NULL;
}
