/* core/plan/device.h - memory and a queue that a plan can run on instead of the host's.
 *
 * Idea: a plan with a device keeps its whole arena there, state and constants included, and its kernels put their
 * work on the queue. What the caller binds stays the caller's, in host memory: a run copies inputs and state in, puts
 * all steps on the queue, copies outputs back, and waits once, at the end. So whoever runs a plan needs to know
 * nothing of the device. A step that has no kernel there makes the trip to the host: it runs on the reference, and
 * the plan says so.
 *
 * Who does know of it binds memory there (lmb_plan_bind_there) and keeps whole training steps on the device
 * (train/resident.h). For that a device may have more: memory of the host that copies reach directly, a second queue
 * for them, marks that order the two, a queue's work recorded and replayed as one, and the kernels of an optimizer's
 * step.
 *
 *   owns     who makes a device ends it, after its plans
 *   threads  one thread at a time
 */
#ifndef LMB_CORE_PLAN_DEVICE_H
#define LMB_CORE_PLAN_DEVICE_H

#include <stddef.h>

#include "core/base/log.h"
#include "core/base/tensor.h"
#include "core/plan/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmb_device lmb_device;
typedef struct lmb_device_mark lmb_device_mark;
typedef struct lmb_device_record lmb_device_record;
struct lmb_step_work;

/* Where kernels run, and beside it where copies to the device go while they do. */
typedef enum { LMB_QUEUE_MAIN, LMB_QUEUE_ASIDE } lmb_device_queue;

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
    /* The same numbers in another layout or type, in the queue's order. NULL, or E_UNSUPPORTED: they make the trip to
     * the host. */
    lmb_status (*convert)(lmb_device *d, const lmb_tensor *from, lmb_layout before, const lmb_tensor *to,
                          lmb_layout after, lmb_error *err);

    /* Whether kernels that run for the first time find out by their times which of several ways is best; log hears of
     * it and outlives the device. Off at first: the same way in every run. NULL: there is one way. */
    void (*measure)(lmb_device *d, bool on, const lmb_log *log);

    /* While it measures, what was found in `folder` before is taken unmeasured, and what is found is kept there (NULL:
     * nowhere); all measuring together takes `seconds` at most (below 0: no limit; 0: only what is known is taken). A
     * file that is damaged or not for this device is passed over, with a sentence to log. */
    lmb_status (*measure_within)(lmb_device *d, double seconds, const char *folder, const lmb_log *log,
                                 lmb_error *err);

    /* ---- what a resident step needs besides; all or none (work NULL) ---- */
    void *stream; /* of the main queue, for libraries that take one (a cudaStream_t) */
    /* Host memory that copies reach without a detour, and kernels at the same address. */
    lmb_status (*pin)(lmb_device *d, size_t bytes, void **memory, lmb_error *err);
    void (*unpin)(lmb_device *d, void *memory); /* NULL is fine */
    /* An upload aside; host memory must stay as it is until a mark behind it is reached. */
    lmb_status (*send)(lmb_device *d, void *to, const void *from, size_t bytes, lmb_error *err);
    lmb_status (*mark_create)(lmb_device *d, lmb_device_mark **m, lmb_error *err);
    void (*mark_destroy)(lmb_device *d, lmb_device_mark *m); /* NULL is fine */
    lmb_status (*mark)(lmb_device *d, lmb_device_mark *m, lmb_device_queue q,
                       lmb_error *err); /* behind what q has now */
    /* What q gets from now on waits for m; one that was never set holds nobody up. */
    lmb_status (*follow)(lmb_device *d, lmb_device_mark *m, lmb_device_queue q, lmb_error *err);
    lmb_status (*reach)(lmb_device *d, lmb_device_mark *m, lmb_error *err); /* the host waits for m */
    lmb_status (*reached)(lmb_device *d, lmb_device_mark *m, bool *yes, lmb_error *err); /* it only looks */
    /* it hangs: from now on nothing that would wait for it is called, nor freed there */
    void (*abandon)(lmb_device *d);
    /* The time there, behind what the main queue has now; in what is being recorded each replay takes it anew.
     * Seconds between two of them are asked for behind `finish`. */
    lmb_status (*stamp)(lmb_device *d, lmb_device_mark *m, lmb_error *err);
    lmb_status (*elapsed)(lmb_device *d, lmb_device_mark *from, lmb_device_mark *to, double *seconds, lmb_error *err);
    /* From record() to recorded() the main queue's work is written down instead of done. E_UNSUPPORTED, E_DEVICE:
     * there was something that can not be; nothing was done, and the queue goes on as before. */
    lmb_status (*record)(lmb_device *d, lmb_error *err);
    lmb_status (*recorded)(lmb_device *d, lmb_device_record **out, lmb_error *err);
    lmb_status (*replay)(lmb_device *d, lmb_device_record *r, lmb_error *err); /* on the main queue */
    void (*record_destroy)(lmb_device *d, lmb_device_record *r);               /* NULL is fine */
    /* A kernel of an optimizer's step, on the main queue: core/plan/device_step.h */
    lmb_status (*work)(lmb_device *d, const struct lmb_step_work *w, lmb_error *err);
};

#ifdef __cplusplus
}
#endif
#endif
