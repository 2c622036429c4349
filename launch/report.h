/* launch/report.h - what a run came to: one table, one summary file, one page.
 *
 * Idea: stages leave small JSON files (launch/stage.h); a report is read from them alone, so it can be made at any
 * time, also of a run that is not complete, and says which stages are missing.
 *
 *   <run>/summary.json   {"stages": [{"name", "parameters", "macs", "bytes", "accuracy", "latency_us",
 *                        "peak_memory_bytes"}, ...]}
 *   <run>/report.html    self-contained: no script, nothing from outside; light and dark
 *
 *   owns     a report owns what it read; names and notes are borrowed from its documents
 *   errors   E_IO, E_FORMAT: a file that is missing or damaged, by its name; E_ARG: no stage has left anything
 */
#ifndef LMB_LAUNCH_REPORT_H
#define LMB_LAUNCH_REPORT_H

#include <stdint.h>

#include "core/base/config.h"
#include "core/base/str.h"

enum { LMB_REPORT_STAGES = 4, LMB_REPORT_CURVES = 4 };

typedef struct lmb_report_stage {
    lmb_config *json;
    const char *name, *note;              /* note may be ""                                      */
    int place;                            /* in the journey, from 0                              */
    double parameters, macs, bytes;
    double accuracy, lo, hi, latency_us;  /* of the test part, with its 95 % interval; 0 to 1    */
    double peak_memory;                   /* bytes (launch/stage.h); 0: the stage did not say    */
    int classes;                          /* 0: no confusion matrix was left                     */
    int64_t *confusion;                   /* [classes, classes], row: true class                 */
    const char **class_name;              /* [classes] or NULL                                   */
} lmb_report_stage;

/* An epoch or a round; NAN where the stage said nothing. */
typedef struct lmb_report_point {
    double at, loss, valid_loss, valid_accuracy, bytes_in, bytes_out;
    double mean, median, worst; /* of a round's clients, on samples that each holds out (federated/spread.h) */
} lmb_report_point;

typedef struct lmb_report_curve {
    const char *name;        /* "teacher", "student", "student-int8", "federation" */
    lmb_report_point *point; /* [n], by epoch or round, from 1      */
    int n;
} lmb_report_curve;

/* A layer of the student that could be factorised (launch/lowrank.h). */
typedef struct lmb_report_rank {
    const char *weight;
    double out, in, taps, rank_out, rank_in, energy, macs, macs_after;
    bool thin;
} lmb_report_rank;

typedef struct lmb_report {
    int n_stages, n_curves;
    lmb_report_stage stage[LMB_REPORT_STAGES]; /* in the order of the journey */
    lmb_report_curve curve[LMB_REPORT_CURVES];
    char missing[128];                         /* names of stages without a stage.json, "" if none */
    lmb_config *ranks_json;                    /* of a factorised student, NULL without */
    lmb_report_rank *rank;                     /* [n_ranks], in the order of the graph  */
    int n_ranks;
    char *privacy;                             /* JSON of a private federation, NULL without */
} lmb_report;

/* `stages`: NULL-terminated names of those that the configuration has, of curves too; others that lie in the folder are
 * of an earlier one. NULL: all. */
LMB_MUST_CHECK lmb_status lmb_report_read(const char *run, const char *const *stages, lmb_report *out, lmb_error *err);
void lmb_report_free(lmb_report *r);
/* report_ranks.c: lowrank.json, and its table in the page. */
LMB_MUST_CHECK lmb_status lmb_report_read_ranks(const char *path, lmb_report *r, lmb_error *err);
void lmb_report_add_ranks(const lmb_report *r, lmb_str *out);
/* The table, as text for a terminal. */
void lmb_report_table(const lmb_report *r, lmb_str *out);
void lmb_report_summary(const lmb_report *r, lmb_str *out);
/* The page. `config`: the resolved configuration as YAML. */
void lmb_report_page(const lmb_report *r, const char *title, const char *config, lmb_str *out);
/* Read, write both files, print the table and the path of summary.json (last line) to stdout. */
LMB_MUST_CHECK lmb_status lmb_report_write(const char *run, const char *const *stages, const char *config,
                                           lmb_error *err);

/* What every page begins and ends with: the title as heading; the resolved configuration, folded away. */
void lmb_report_page_begin(const char *title, lmb_str *out);
void lmb_report_page_end(const char *config, lmb_str *out);

/* "1.23 M" for 1234567; `unit` follows. */
const char *lmb_report_count(double v, const char *unit, char *buf, size_t cap);
/* Name of class `c`, made of its number where the data set has none. */
const char *lmb_report_class(const lmb_report_stage *s, int c, char *buf, size_t cap);

#endif
