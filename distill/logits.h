/* distill/logits.h - a teacher's logits, computed once and kept in a file.
 *
 * Idea: what a teacher says of a sample is a pure function of the teacher, the sample and its augmentation, and that is
 * a function of (seed, epoch, sample). So the file is named by a hash of teacher, data set, backend, rows answered at
 * once, precision and, where samples are augmented, of seed and augmentation; inside, a row of logits for each (epoch,
 * sample), or for each sample alone where nothing is augmented. With augment.versions there are rows for as many
 * epochs, which later ones read again. Trainings that share the key share the file: another student, another
 * temperature, the short training after pruning, the first epochs of a longer one. A training from the file ends in the
 * same bits as a live one, whose teacher is in f32.
 *
 *   file     header | chunk | chunk ...; a chunk is up to 1,024 rows of one epoch and a hash of key, number and
 *            content. A chunk without its hash is not there: whatever the instant of a crash, the next start computes
 *            exactly what is missing. Rows lie at fixed places, to be mapped. Chunks are not compressed: floats of the
 *            host.
 *   ranks    share the work; rank 0 writes; all map the file, so it must be on storage that all see
 *   bits     of the machine that computed them: kernels differ between processors, as they do live
 *   threads  rows() may be called from several threads at once
 */
#ifndef LMB_DISTILL_LOGITS_H
#define LMB_DISTILL_LOGITS_H

#include "comm/collective.h"
#include "core/graph/op.h"
#include "datasets/augment.h"
#include "datasets/dataset.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_logits lmb_logits;

/* Whose answers to what; everything is borrowed and must outlive the open. */
typedef struct lmb_logits_key {
    const lmb_graph *teacher;   /* inference form */
    const lmb_dataset *data;
    const lmb_augment *augment; /* as in training; NULL: the teacher is shown samples as they are */
    uint64_t seed;              /* train.seed     */
    const char *backend;
    int64_t rows;               /* that the teacher answers at once: lmb_distill.rows, 1 to 1048576 */
    int64_t epochs;             /* of the training */
    int64_t precision;          /* of the teacher's feature maps: LMB_TRAIN_F32 or LMB_TRAIN_BF16 */
} lmb_logits_key;

/* Progress of computing what is missing; may be NULL. rows returns false to stop; of several ranks rank 0 is asked. */
typedef struct lmb_logits_watch { bool (*rows)(void *ctx, int64_t done, int64_t all); void *ctx; } lmb_logits_watch;

/* Bytes of the whole file, and what is free where it would lie (or there already): what a caller decides by. */
LMB_MUST_CHECK lmb_status lmb_logits_size(const char *folder, const lmb_logits_key *k, uint64_t *bytes, uint64_t *room,
                                          lmb_error *err);
/* Is every row there? Reads the whole file. */
LMB_MUST_CHECK lmb_status lmb_logits_there(const char *folder, const lmb_logits_key *k, bool *there, lmb_error *err);

/* Compute what is missing on all ranks, then map: <folder>/logits-<key>.bin. All ranks call.
 *   errors  E_IO with the bytes needed and free when the disk is too small, before any work; E_SHAPE when teacher and
 *           data do not go together; E_NUMERIC for a teacher whose logits are not finite; E_UNSUPPORTED, E_ARG where
 *           processor, build or backend has no bf16; E_STOPPED on all ranks: what was computed stays */
LMB_MUST_CHECK lmb_status lmb_logits_open(const char *folder, const lmb_logits_key *k, int threads, lmb_comm *comm,
                                          const lmb_logits_watch *watch, lmb_logits **out, lmb_error *err);
void lmb_logits_close(lmb_logits *l); /* NULL is a no-op */

/* How many rows there are: of so many epochs (1: the same in all), of so many samples each. */
void lmb_logits_extent(const lmb_logits *l, int64_t *epochs, int64_t *samples);

/* Rows of a step into out [n, classes]; ctx is a lmb_logits: for lmb_distill.logits. E_ARG outside epochs and
 * samples. */
lmb_status lmb_logits_rows(void *ctx, const lmb_step_info *info, int64_t n, float *out, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
