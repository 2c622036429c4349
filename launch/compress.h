/* launch/compress.h - what a search (distill/search) leaves for people and scripts.
 *
 *   <run>/compress/front.json    the answer, every point that was tried, and which of them no other beats
 *   <run>/compress/report.html   the same to look at
 *   <run>/compress/model.lmb, model-int8.onnx   the answer's files; those of point 7 are in points/007
 *
 * front.json says nothing about when or how long, so that two searches with the same decisions leave the same bytes.
 */
#ifndef LMB_LAUNCH_COMPRESS_H
#define LMB_LAUNCH_COMPRESS_H

#include "distill/search/paired.h"
#include "distill/search/search.h"
#include "launch/cmd.h"
#include "launch/compress_others.h"
#include "launch/device.h"
#include "launch/job.h"
#include "launch/update.h"

/* What of a point is only known at the end: how it does on the test part, which had no say in any decision. */
typedef struct lmb_compress_test { bool there; double accuracy, lo, hi; } lmb_compress_test;

typedef struct lmb_compress_report {
    const lmb_search_result *result;
    const lmb_search_config *c;
    int64_t held_out;              /* samples                        */
    const lmb_compress_test *test; /* [points]                       */
    lmb_compress_test teacher;     /* the float teacher's            */
    lmb_paired tested;             /* the float teacher and the answer, on the test part */
    double teacher_us;             /* its p50 in float, on this machine; 0: not taken */
    lmb_latency *table;            /* frozen                         */
    const lmb_timer_about *about;  /* where latencies were measured  */
    const lmb_others *others;      /* fronts to stand beside         */
    /* held-out accuracy that they are compared at: what the budget allows, or the answer's */
    double level;
    const char *no_energy;         /* why it was not measured; "": it was, of some points */
    const char *folder, *config;   /* config: resolved, as YAML      */
} lmb_compress_report;

/* A search that is about to begin: all of it is borrowed. */
typedef struct lmb_compress_of {
    const lmb_job *job;
    const lmb_search_config *c;
    const char *held_out_part;             /* "validation" or "test" */
    const lmb_device_config *device;
    const lmb_dataset *train, *held_out;
    const lmb_graph *teacher, *teachers;   /* teachers: or NULL      */
    const lmb_update_last *update;         /* number 0: none         */
} lmb_compress_of;
/* What all its decisions depend on: a journal of another search is told by it. */
LMB_MUST_CHECK lmb_status lmb_compress_identity(const lmb_compress_of *of, lmb_str *text, lmb_error *err);
/* Its configuration, resolved, as YAML, for people. */
LMB_MUST_CHECK lmb_status lmb_compress_config(const lmb_compress_of *of, lmb_str *text, lmb_error *err);

/* All that is left of a search, by rank 0. */
typedef struct lmb_compress_end {
    const lmb_search_result *result;
    const lmb_search_config *c;
    const lmb_graph *teacher;
    int64_t held_out;            /* samples that decided         */
    const lmb_dataset *test;     /* samples that had no say      */
    lmb_others *others;          /* without times of other devices after that */
    const char *folder, *config; /* config: resolved, as YAML    */
} lmb_compress_end;
/* A point on the test part. right: bool [test->n], which samples it has right, or NULL. */
LMB_MUST_CHECK lmb_status lmb_compress_test_point(const lmb_compress_end *e, int id, bool *right,
                                                  lmb_compress_test *out, lmb_error *err);
/* The answer and the teacher in floats: test[result->best], teacher, teacher_us and tested of the report. */
LMB_MUST_CHECK lmb_status lmb_compress_test_answer(const lmb_compress_end *e, lmb_compress_test *test,
                                                   lmb_compress_report *report, lmb_error *err);
/* Evaluate the points of the front on the test part, write front.json, report.html and the answer's files, say the
 * answer. */
LMB_MUST_CHECK lmb_status lmb_compress_leave(const lmb_compress_end *e, lmb_error *err);

/* The models of compress.teacher and compress.distill.teachers, either NULL. *compressed: of the first, else of the
 * first of the second, else of <run>/teacher. *several: all of the second as one, NULL without. Both are the caller's,
 * on failure too; of one that ends in Softmax, which it comes without, a line is said with `say`. */
LMB_MUST_CHECK lmb_status lmb_compress_teacher(const lmb_job *j, const lmb_tree *teacher, const lmb_tree *teachers,
                                               bool say, lmb_graph **compressed, lmb_graph **several, lmb_error *err);

/* E_ARG: so many of the test part's samples decide, which are too few for c's budget. Else lmb_search_check says it,
 * and what to change. */
LMB_MUST_CHECK lmb_status lmb_compress_half_check(const lmb_search_config *c, int64_t samples, lmb_error *err);

/* What the section `compress` compresses, for an update of a stage that was not trained: the caller's. */
LMB_MUST_CHECK lmb_status lmb_compress_origin(const lmb_job *j, bool say, lmb_graph **out, lmb_error *err);
/* Does the configuration say so? A teacher that is itself such a stage, still to be trained, is no answer. */
bool lmb_compress_has_origin(const lmb_job *j);

/* What `compress` may hold beside lmb_search_fields. */
extern const lmb_field lmb_compress_fields[];
/* For `limbeck config check`: section, data and, where it is there, teacher. */
LMB_MUST_CHECK lmb_status lmb_compress_check(const char *path, const lmb_args *a, bool quiet, lmb_error *err);

/* --fresh, by rank 0 under the lock, around a search: what the one before has left stays until the new one has its
 * first point, and if that never comes, it is as it was. Without `fresh` lmb_fresh_begin only ends what a kill has left
 * undone. Files that no search has written stay. */
LMB_MUST_CHECK lmb_status lmb_fresh_begin(const char *folder, bool fresh, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_fresh_end(const char *folder, lmb_error *err);

/* --refresh: from the last update. Its model is the teacher, its samples are learnt from as well, and what
 * <run>/compress has measured is not measured again. */
typedef struct lmb_refresh {
    lmb_update_last update;
    char table[LMB_STAGE_PATH];
} lmb_refresh;
/* The job's data are open. Sets c->table.file, unless one is named, and the folder, <run>/compress-N; says so to
 * stderr, unless silent. Free out->update. errors  as lmbi_update_last; E_ARG: there was no search before */
LMB_MUST_CHECK lmb_status lmb_refresh_open(const lmb_job *j, lmb_search_config *c, bool silent, lmb_refresh *out,
                                           char folder[LMB_STAGE_PATH], lmb_error *err);

/* How many steps are still to come at the least: those down to step_min if from now on nothing is accepted, or those to
 * the limits at the present share; no more than `steps` allows. There is a point. */
double lmb_compress_steps_left(const lmb_search_config *c, const lmb_points *p, double share);
/* What the search makes small, of a point, as people read it. */
void lmb_compress_cost(const lmb_search_config *c, const lmb_point *p, char *out, size_t room);

/* "accepted", "beaten" or "rejected". */
const char *lmbi_compress_decision(const lmb_point *p);
/* Held-out accuracy against one cost: all points, and the fronts of other searches. */
void lmbi_compress_picture(const lmb_compress_report *r, int cost, lmb_str *out);

void lmb_compress_json(const lmb_compress_report *r, lmb_str *out);
/* E_IO: the answer's file can not be read. */
LMB_MUST_CHECK lmb_status lmb_compress_page(const lmb_compress_report *r, lmb_str *out, lmb_error *err);

#endif
