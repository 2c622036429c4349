/* train/metrics.h - how good predictions are: a confusion matrix and what follows from it.
 *
 *   owns     a lmb_metrics owns its matrix; lmb_metrics_deinit frees it
 *   source   Wilson 1927 for the interval
 */
#ifndef LMB_TRAIN_METRICS_H
#define LMB_TRAIN_METRICS_H

#include <stdint.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_metrics {
    int classes;
    int64_t *confusion; /* [classes, classes], row: true class, column: predicted */
    int64_t n;
    double loss_sum;
} lmb_metrics;

LMB_MUST_CHECK lmb_status lmb_metrics_init(lmb_metrics *m, int classes, lmb_error *err);
void lmb_metrics_deinit(lmb_metrics *m);
void lmb_metrics_reset(lmb_metrics *m);
/* Count `n` rows of logits [n, classes] and their cross-entropy against labels in [0, classes), which data sets have
 * checked; the first of equal maxima is the prediction. */
void lmb_metrics_add(lmb_metrics *m, const float *logits, const int64_t *labels, int64_t n);
void lmb_metrics_add_one(lmb_metrics *m, int label, int predicted);
int lmb_argmax(const float *logits, int classes);

double lmb_metrics_accuracy(const lmb_metrics *m);
double lmb_metrics_loss(const lmb_metrics *m); /* mean cross-entropy, nats */
double lmb_metrics_precision(const lmb_metrics *m, int c); /* 0 when nothing was predicted as c */
double lmb_metrics_recall(const lmb_metrics *m, int c);
double lmb_metrics_f1(const lmb_metrics *m, int c);
double lmb_metrics_macro_f1(const lmb_metrics *m);
/* 95 % interval of the accuracy, within [0, 1]; all of it when nothing was counted. */
void lmb_metrics_interval(const lmb_metrics *m, double *lo, double *hi);

#ifdef __cplusplus
}
#endif
#endif
