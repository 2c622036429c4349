/* train/lesson.h - what the terms of the teacher's share are built from: its answers and features beside the student's.
 *
 * Idea: a frozen copy of the teacher runs in the student's training graph. Terms that compare predictions get both
 * logits; terms that look inside get pairs of values, by name or by what is the same in both: for each height and width
 * that feature maps of both have, the last of that size on the way to the logits, which is where a stage of a network
 * ends. What is computed of weights alone, such as their fake quantisation, is no map. Terms that compare samples get
 * what the layer of the logits reads.
 *
 * Some terms learn how to compare: heads are parameters of the graph that is trained, and of no model that is kept.
 */
#ifndef LMB_TRAIN_LESSON_H
#define LMB_TRAIN_LESSON_H

#include "train/loss.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMB_LESSON_PAIRS = 8, LMB_LESSON_HEADS = 2 };

typedef struct lmb_lesson {
    const lmb_objective *o;
    const lmb_taught *with; /* NULL for the labels' term */
    lmb_vid logits, labels; /* [n, classes], s64 [n] */
    lmb_vid answers;        /* the teacher's logits [n, classes] */
    int n_pairs;            /* at least 1 for terms with LMB_TERM_FEATURES; places are equal for LMB_TERM_PLACES */
    lmb_vid student[LMB_LESSON_PAIRS], teacher[LMB_LESSON_PAIRS]; /* f32 [n, ...] */
    lmb_vid head[LMB_LESSON_HEADS]; /* of pair 0; of a term that has them */
} lmb_lesson;

/* Rows of the fields of a term that looks inside. */
#define LMB_TAUGHT_LAYERS(which)                                                                                       \
    LMB_TEXT(lmb_taught, student, "",                                                                                  \
             "value of the student's graph (`limbeck inspect` lists them); without both: " which),                     \
        LMB_TEXT(lmb_taught, teacher, "", "value of the teacher's graph that goes with it")

enum { LMB_HEAD_NAME = 64 };
/* The name of the parameter that is head k of the taught term i. */
void lmb_lesson_head_name(int i, int k, char out[LMB_HEAD_NAME]);

/* Mean of the squared difference of two values of one shape. */
lmb_vid lmb_lesson_apart(lmb_builder *b, lmb_vid student, lmb_vid teacher);

/* The pairs that a term compares, as ids of either graph: *n of them. Values of both on the way to output 0.
 *   errors  E_ARG for a name that is not there; E_SHAPE when nothing goes together */
LMB_MUST_CHECK lmb_status lmb_lesson_pairs(const lmb_taught *with, const lmb_graph *student, const lmb_graph *teacher,
                                           lmb_vid *s, lmb_vid *t, int *n, lmb_error *err);

/* For each of o's taught terms a lesson behind x [n, ...]; b->g is the student's graph, whose output 0 is `logits`. */
void lmb_lessons_begin(const lmb_objective *o, lmb_builder *b, lmb_vid x, lmb_vid logits, lmb_vid labels,
                       lmb_lesson out[LMB_TAUGHT_MAX]);

#ifdef __cplusplus
}
#endif
#endif
