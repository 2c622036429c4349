/* distill/quantize/observer.c - the table of observers. See observer.h. */
#include "distill/quantize/observer.h"

#include <string.h>

#include "core/base/compiler.h"

extern const lmb_observer lmb_observer_minmax, lmb_observer_moving_average, lmb_observer_percentile,
    lmb_observer_mse, lmb_observer_entropy;

const lmb_observer *const lmb_observers[] = {
    &lmb_observer_minmax,
    &lmb_observer_moving_average,
    &lmb_observer_percentile,
    &lmb_observer_mse,
    &lmb_observer_entropy,
    NULL,
};

const lmb_observer *lmb_observer_find(const char *name)
{
    for (int i = 0; lmb_observers[i]; i++)
        if (strcmp(lmb_observers[i]->name, name) == 0)
            return lmb_observers[i];
    return NULL;
}

LMB_HOT void lmb_observed_range(const float *x, int64_t n, float *lo, float *hi)
{
    float a = x[0], b = x[0];
    for (int64_t i = 1; i < n; i++) {
        a = x[i] < a ? x[i] : a;
        b = x[i] > b ? x[i] : b;
    }
    *lo = a;
    *hi = b;
}
