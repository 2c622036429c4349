/* train/sum_tree.h - how two vectors become one, wherever they come from: the nodes of the tree that a batch is summed
 * along.
 *
 * Idea: a vector is LMBI_SUMS sums over samples, then a state. Most of it is added up; a segment that takes a minimum
 * or a maximum (a range of activations) is compared instead. The work is done bucket by bucket, and within a bucket
 * stretch by stretch: from one such segment to the next. A shard's vector is weighed by its share of the batch where
 * the tree first reads it.
 *
 *   threads  any, on different numbers
 */
#ifndef LMB_TRAIN_SUM_TREE_H
#define LMB_TRAIN_SUM_TREE_H

#include "core/cpu/products.h"
#include "core/graph/state.h"

/* In front of the state, a vector carries sums over samples; they belong to the last bucket. 64 bytes. */
enum { LMBI_SUMS = 16, LMBI_LOSS = 0, LMBI_CORRECT = 1 };

typedef struct lmbi_bucket {
    size_t lo, n;    /* floats of a vector                     */
    int first, last; /* segments [first, last) of the layout   */
} lmbi_bucket;

/* What is summed. apart: [segments] those with rows > 0 are left out, as they are products that are multiplied later;
 * NULL: none. */
typedef struct lmbi_stretch {
    const lmb_state_layout *layout;
    const lmbi_bucket *b;
    const lmb_factors *apart;
} lmbi_stretch;

/* An inner node, an lmb_combine whose ctx is an lmbi_stretch: positions lo .. lo + n of the bucket. */
void lmbi_tree_combine(void *stretch, float *into, const float *from, size_t lo, size_t n);
/* Two leaves of the bucket, into = a into + c from; or `from` NULL: a leaf alone. Sums over samples are not weighed. */
void lmbi_tree_leaves(const lmbi_stretch *s, float *into, float a, const float *from, float c);
/* v [LMBI_SUMS + count]: what an inner node leaves the other side unchanged with. */
void lmbi_tree_neutral(const lmb_state_layout *l, float *v);

#endif
