/* federated/aggregators/rows.h - names of the rows, for the table alone. */
#ifndef LMB_FEDERATED_AGGREGATORS_ROWS_H
#define LMB_FEDERATED_AGGREGATORS_ROWS_H

#include "federated/aggregator.h"

extern const lmb_aggregator lmbi_fedavg, lmbi_fedadagrad, lmbi_fedadam, lmbi_fedyogi;

#endif
