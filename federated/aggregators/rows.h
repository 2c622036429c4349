/* federated/aggregators/rows.h - names of the rows, for the table alone. */
#ifndef LMB_FEDERATED_AGGREGATORS_ROWS_H
#define LMB_FEDERATED_AGGREGATORS_ROWS_H

#include "federated/aggregator.h"

extern const lmb_aggregator lmbi_fedavg, lmbi_fedadagrad, lmbi_fedadam, lmbi_fedyogi, lmbi_median, lmbi_trimmed_mean,
    lmbi_krum, lmbi_multi_krum, lmbi_bulyan, lmbi_geometric_median, lmbi_scaffold, lmbi_fednova;

#endif
