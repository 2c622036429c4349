/* core/plan/device.h - memory and a queue that a plan can run on instead of the host's.
 *
 * Idea: a plan with a device keeps its whole arena there, state and constants included, and its kernels put their work on
 * the queue. What the caller binds stays the caller's, in host memory: a run copies inputs and state in, puts all steps
 * on the queue, copies outputs back, and waits once, at the end. So whoever runs a plan needs to know nothing of the
 * device. A step that has no kernel there makes the trip to the host: it runs on the reference, and the plan says so.
 *
 *   owns     who makes a device ends it, after its plans
 *   threads  one thread at a time
 */
#ifndef LMB_CORE_PLAN_DEVICE_H
#define LMB_CORE_PLAN_DEVICE_H

#include <stddef.h>

#include "core/base/tensor.h"
#include "core/plan/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_device lmb_device;
struct lmb_device {
    const char *name; /* for people: "NVIDIA H200" */
    void *queue;      /* lmb_run.queue of its kernels */
    /* Memory aligned to 256 bytes, contents undefined. */
    lmb_status (*alloc)(lmb_device *d, size_t bytes, void **memory, lmb_error *err);
    void (*free)(lmb_device *d, void *memory);
    /* In the queue's order; host memory must stay as it is until `finish`. */
    lmb_status (*upload)(lmb_device *d, void *to, const void *from, size_t bytes, lmb_error *err);
    lmb_status (*download)(lmb_device *d, void *to, const void *from, size_t bytes, lmb_error *err);
    lmb_status (*copy)(lmb_device *d, void *to, const void *from, size_t bytes, lmb_error *err);
    lmb_status (*finish)(lmb_device *d, lmb_error *err); /* wait for all of it; what failed on the way shows here */
    /* The same numbers in another layout or type, in the queue's order. NULL, or E_UNSUPPORTED: they make the trip to the host. */
    lmb_status (*convert)(lmb_device *d, const lmb_tensor *from, lmb_layout before, const lmb_tensor *to, lmb_layout after, lmb_error *err);
};

#ifdef __cplusplus
}
#endif
#endif
