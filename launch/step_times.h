/* launch/step_times.h - where the time of a plan goes: its longest steps and kernels. */
#ifndef LMB_LAUNCH_STEP_TIMES_H
#define LMB_LAUNCH_STEP_TIMES_H

#include "core/base/str.h"
#include "core/plan/plan.h"

enum { LMB_STEP_TIMES = 10 };

/* The LMB_STEP_TIMES longest steps of a plan that was timed (lmb_plan_timing), then kernels, each with all its steps,
 * the longest first, and the sum: milliseconds of the mean run, share of all, GB/s and TFLOP/s. Bytes are those of the
 * operands, each moved once, in the types in which they are kept; operations are counted from shapes. */
void lmb_step_times(const lmb_plan *p, lmb_str *out);

#endif
