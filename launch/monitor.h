/* launch/monitor.h - the halves of `limbeck monitor`: making a reference, and comparing devices with it. */
#ifndef LMB_LAUNCH_MONITOR_H
#define LMB_LAUNCH_MONITOR_H

#include "core/edge/monitor.h"
#include "launch/cmd.h"

/* CONFIG.yaml --reference MODEL.lmb [--part P] [--samples N] --out FILE.mon|FILE.lmb */
LMB_MUST_CHECK lmb_status lmbi_monitor_reference(const lmb_args *a, lmb_error *err);

#endif
