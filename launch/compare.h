/* launch/compare.h - two models on the same samples: how good is each, and how often do they answer differently. */
#ifndef LMB_LAUNCH_COMPARE_H
#define LMB_LAUNCH_COMPARE_H

#include "core/graph/graph.h"
#include "datasets/dataset.h"
#include "train/metrics.h"

/* metrics: [2], initialised with the data's classes; *flips: samples on which the largest logit is another class. */
LMB_MUST_CHECK lmb_status lmb_compare(const lmb_graph *before, const lmb_graph *after, const lmb_dataset *data,
                                      const char *backend, int threads, lmb_metrics *metrics, int64_t *flips,
                                      lmb_error *err);
/* The same as one line on stdout: "<title>: 91.20 % before, 91.05 % after; 113 of 10000 answers differ". */
LMB_MUST_CHECK lmb_status lmb_compare_print(const char *title, const lmb_graph *before, const lmb_graph *after,
                                            const lmb_dataset *data, const char *backend, lmb_error *err);

#endif
