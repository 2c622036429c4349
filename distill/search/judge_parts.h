/* distill/search/judge_parts.h - what judge.c and judge_train.c share. Private to them. */
#ifndef LMB_DISTILL_SEARCH_JUDGE_PARTS_H
#define LMB_DISTILL_SEARCH_JUDGE_PARTS_H

#include "datasets/augment.h"
#include "distill/logits.h"
#include "distill/prune/masks.h"
#include "distill/search/judge.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMBI_JUDGE_ROWS = 64 }; /* that the teacher answers at once */
/* alone: finish, untaught */
typedef enum { LMBI_TUNE, LMBI_RECOVER, LMBI_FINISH, LMBI_ALONE, LMBI_LESSONS } lmbi_lesson;

struct lmb_judge {
    const lmb_judge_config *c;
    const lmb_graph *teacher, *teaches; /* whose answers count; who says what is to be learnt */
    const lmb_dataset *train, *held_out;
    const char *folder;
    lmb_comm *comm;
    lmb_judge_watch watch;
    lmb_objective how[LMBI_LESSONS];             /* the teacher's share, and of which losses */
    lmb_logits *logits, *versions[LMBI_LESSONS]; /* of samples as they are; as the lesson shows them, or NULL */
    int classes, threads;
    bool *teacher_right;    /* [held_out->n] */
    int64_t n_teacher_right, n_teaches_right;
    const uint32_t *subset; /* running: training sample of each sample that is seen; NULL: the same */
    lmb_logits *asked;      /* running */
    const char *what;       /* running: said of the work */
    int64_t epochs;         /* running */
    lmb_masks *masks;       /* running: of a model that came with zeros; NULL: it has none */
};

bool lmbi_judge_tell(lmb_judge *j, const char *what, int64_t done, int64_t all);

/* The changes of a lesson whose samples have versions: the same in all its trainings, so that the teacher is
 * asked once. */
static inline lmb_augment lmbi_judge_augment(const lmb_augment *a)
{
    lmb_augment shown = *a;
    shown.seed = shown.seed ? shown.seed : 1;
    return shown;
}

#ifdef __cplusplus
}
#endif
#endif
