/* distill/search/taylor.h - what a change of the weights would cost, from gradients of a few batches.
 *
 * Idea: to first order a batch's loss changes by the gradient times the change. A trained model's gradients are near
 * zero on average, but not on each batch; so the mean over batches of the absolute value is what tells weights that
 * matter from those that do not. Channels taken away and layers cut to a rank are then in one unit, loss, and can be
 * compared.
 *
 *   channel   its weights, scale and bias all go to zero: |sum g w|
 *   weights   changed by d: for each output channel |sum g d|, summed
 *   source    Molchanov et al. 2019, arXiv:1906.10771, section 3.1 (first order, a gate behind BatchNormalization)
 *   threads   read-only once made
 */
#ifndef LMB_DISTILL_SEARCH_TAYLOR_H
#define LMB_DISTILL_SEARCH_TAYLOR_H

#include "datasets/dataset.h"
#include "distill/prune/axes.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_taylor lmb_taylor;
typedef struct lmb_taylor_config { int64_t batches, rows; uint64_t seed; const char *backend; } lmb_taylor_config;

/* Gradients of the cross-entropy of `model` on batches of the data, without augmentation, in training form. E_ARG when
 * the data has fewer samples. */
LMB_MUST_CHECK lmb_status lmb_taylor_create(const lmb_graph *model, const lmb_dataset *data, const lmb_taylor_config *c,
                                            lmb_taylor **out, lmb_error *err);
void lmb_taylor_destroy(lmb_taylor *t); /* NULL is a no-op */

/* What each channel of the map is worth: out [map->n_channels]. `g` is the model of the create. */
LMB_MUST_CHECK lmb_status lmb_taylor_channels(const lmb_taylor *t, const lmb_graph *g, const lmb_axis_map *map,
                                              double *out, lmb_error *err);
/* The same of one class: out [class->channels]. */
LMB_MUST_CHECK lmb_status lmb_taylor_class(const lmb_taylor *t, const lmb_graph *g, const lmb_axis_map *map,
                                           const lmb_axis_class *class, double *out, lmb_error *err);
/* What it costs to give the weights `value` of g the content w. */
double lmb_taylor_weights(const lmb_taylor *t, const lmb_graph *g, lmb_vid value, const float *w);
/* What it costs that row i of some values goes to zero, of all of them at once: out [rows], the size of dimension 0 that
 * they share. LMB_NONE and values without gradient count for nothing. */
void lmb_taylor_rows(const lmb_taylor *t, const lmb_graph *g, const lmb_vid *value, int n, int64_t rows, double *out);

#ifdef __cplusplus
}
#endif
#endif
