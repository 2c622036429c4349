/* federated/aggregators/table.c - the aggregators, one line each. */
#include <string.h>

#include "federated/aggregators/rows.h"

const lmb_aggregator *const lmb_aggregators[] = {
    &lmbi_fedavg,
    &lmbi_fedadagrad,
    &lmbi_fedadam,
    &lmbi_fedyogi,
    &lmbi_scaffold,
    &lmbi_fednova,
    &lmbi_median,
    &lmbi_trimmed_mean,
    &lmbi_krum,
    &lmbi_multi_krum,
    &lmbi_bulyan,
    &lmbi_geometric_median,
    NULL,
};

lmb_status lmb_aggregator_find(const char *name, const lmb_aggregator **out, lmb_error *err)
{
    char known[400] = "";
    for (int i = 0; lmb_aggregators[i]; i++) {
        if (strcmp(lmb_aggregators[i]->name, name) == 0) {
            *out = lmb_aggregators[i];
            return LMB_OK;
        }
        strncat(known, i ? ", " : "", sizeof known - strlen(known) - 1);
        strncat(known, lmb_aggregators[i]->name, sizeof known - strlen(known) - 1);
    }
    return LMB_FAIL(err, LMB_E_ARG, "there is no aggregator '%.40s'; known are: %s", name, known);
}
