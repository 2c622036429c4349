/* train/device_wait.h - the host waits for a device, but not for ever.
 *
 * Idea: a wait looks again and again instead of handing itself to the driver, which would not come back from a device
 * that hangs. After the limit the device is named and abandoned: nothing that would wait for it is called any more, so
 * that the job can end.
 */
#ifndef LMB_TRAIN_DEVICE_WAIT_H
#define LMB_TRAIN_DEVICE_WAIT_H

#include "core/plan/device.h"

typedef struct lmbi_device_wait {
    double limit_s;    /* 0: none */
    const char *doing; /* for people, behind "has not done": "step 7" */
} lmbi_device_wait;

/* Until m is reached. E_DEVICE: it was not within the limit. */
LMB_MUST_CHECK lmb_status lmbi_device_reach(lmb_device *d, lmb_device_mark *m, const lmbi_device_wait *w,
                                            lmb_error *err);
/* Until all work of the main queue is done; what failed on the way shows here. m: any mark. */
LMB_MUST_CHECK lmb_status lmbi_device_finish(lmb_device *d, lmb_device_mark *m, const lmbi_device_wait *w,
                                             lmb_error *err);

#endif
