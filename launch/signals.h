/* launch/signals.h - how a command learns that it is asked to end: Ctrl-C, SIGTERM, or SIGUSR1, which mpirun hands on
 * to ranks at once and which batch systems send before time is up.
 */
#ifndef LMB_LAUNCH_SIGNALS_H
#define LMB_LAUNCH_SIGNALS_H

#include <stdbool.h>

/* From now on these signals are counted and end nothing; `also` is called each time, within the handler. NULL:
 * nothing. */
void lmb_signals_catch(void (*also)(void));
bool lmb_interrupted(void);
/* How often. */
const volatile int *lmb_interruptions(void);

#endif
