/* datasets/split.h - who gets which samples: splits and federated partitions, functions of a seed.
 *
 *   source  Dirichlet partition by label: Hsu, Qi, Brown 2019, arXiv:1909.06335; shards: McMahan et al. 2017,
 *           arXiv:1602.05629, section 3
 */
#ifndef LMB_DATASETS_SPLIT_H
#define LMB_DATASETS_SPLIT_H

#include "datasets/dataset.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A random permutation of [0, n), to be cut into parts: out[0 .. size of part 0) is part 0, and so on; view one with
 * lmb_dataset_subset. out: [n] caller storage. */
void lmb_split(uint64_t seed, uint32_t n, uint32_t *out);
/* The same for the samples of d, arranged so that wherever it is cut, each part has its share of every class, give or
 * take one sample. out: [d->n] caller storage. */
LMB_MUST_CHECK lmb_status lmb_split_stratified(const lmb_dataset *d, uint64_t seed, uint32_t *out, lmb_error *err);

typedef enum {
    LMB_PARTITION_IID,
    LMB_PARTITION_DIRICHLET,
    LMB_PARTITION_SHARDS,
    LMB_PARTITION_GROUPS,
    LMB_PARTITION_QUANTITY
} lmb_partition_kind;
extern const char *const lmb_partition_names[]; /* by kind, NULL-terminated */

/* client[i] in [0, clients) for each sample i of d; every sample goes to exactly one client.
 *   alpha    DIRICHLET, QUANTITY: concentration, > 0 (0.5 is quite uneven); SHARDS: shards a client, whole (2); else
 *            unused
 *   QUANTITY classes as even as IID, numbers of samples drawn from a Dirichlet distribution of alpha (Li et al. 2022,
 *            arXiv:2102.02079, section 3.2.3)
 *   GROUPS   whole groups (people, writers), in the order of their numbers, as evenly as their count allows
 *   errors   E_ARG for a client that would get fewer than `least` samples, naming what to change */
LMB_MUST_CHECK lmb_status lmb_partition(const lmb_dataset *d, lmb_partition_kind kind, int clients, double alpha,
                                        uint64_t seed, int64_t least, int32_t *client, lmb_error *err);
/* The view of the samples that `client` [d->n] gives to client number `which`. */
LMB_MUST_CHECK lmb_status lmb_partition_view(const lmb_dataset *d, const int32_t *client, int32_t which,
                                             lmb_dataset **out, lmb_error *err);
/* The views of all clients at once: out[clients], the caller's to destroy, NULL where an error came before. */
LMB_MUST_CHECK lmb_status lmb_partition_views(const lmb_dataset *d, const int32_t *client, int clients,
                                              lmb_dataset **out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
