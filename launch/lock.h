/* launch/lock.h - one worker at a time in a folder.
 *
 * Idea: an advisory lock (flock) on <folder>/lock. It belongs to the open file, so it goes with the processes that hold
 * it, however they end; children that are given the descriptor (lmb_child.keep) hold it too, so that whoever comes
 * after `kill -9` does not meet the last seconds of those that are still saving. The file names the process that took
 * it.
 */
#ifndef LMB_LAUNCH_LOCK_H
#define LMB_LAUNCH_LOCK_H

#include "core/base/error.h"

/* Make the folder and lock it. A holder whose process is gone has children that are ending: they are waited for, at
 * most `patience_s`, and a line on stderr says so; `*hurry` (may be NULL) other than 0 ends the wait.
 *   owns     the descriptor is the caller's; lmb_unlock
 *   errors   E_ARG: somebody works there; E_IO; E_STOPPED: in a hurry */
LMB_MUST_CHECK lmb_status lmb_lock(const char *folder, double patience_s, const volatile int *hurry, int *out,
                                   lmb_error *err);
void lmb_unlock(int lock);

#endif
