/* launch/device.h - the device that a search is for: limbeck-time (core/edge/time), reached by a command.
 *
 * Idea: whatever runs a command elsewhere will do (ssh, adb shell, docker exec -i, qemu-aarch64): it is started by the
 * shell, asked through its standard input, and ended with us. It is measured on there; everything else stays here. A
 * device that is gone for a while is started and given its model again; one that has become another is refused.
 *
 *   threads  one at a time; Ctrl-C (signals.h) ends any wait
 */
#ifndef LMB_LAUNCH_DEVICE_H
#define LMB_LAUNCH_DEVICE_H

#include "core/base/field.h"
#include "distill/search/timer.h"

typedef struct lmb_device_config {
    const char *name, *command; /* both or neither */
    double timeout_s, patience_s;
} lmb_device_config;
extern const lmb_field lmb_device_fields[];
extern const lmb_field lmb_device_identity[]; /* those that a search depends on */

/* E_ARG: a name without a command or the other way round, or a name that is too long. */
LMB_MUST_CHECK lmb_status lmb_device_check(const lmb_device_config *c, lmb_error *err);

typedef struct lmb_device lmb_device;
/* Starts nothing: the first question does. say: what is good to know while it works; NULL: nobody listens. Config and
 * ctx are borrowed. */
LMB_MUST_CHECK lmb_status lmb_device_open(const lmb_device_config *c, void (*say)(void *ctx, const char *line),
                                          void *ctx, lmb_device **out, lmb_error *err);
void lmb_device_close(lmb_device *d); /* NULL is a no-op */
const lmb_timer *lmb_device_timer(const lmb_device *d);

#endif
