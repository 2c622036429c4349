/* launch/signals.c - see signals.h. Of a program, hence the only place of it with state of the whole process. */
#include "launch/signals.h"

#include <signal.h>
#include <stddef.h>

static volatile int count;
static void (*volatile each)(void);

static void on_signal(int s)
{
    (void)s;
    if (count < 1000)
        count++;
    if (each)
        each();
}

/* SA_RESTART: nobody's write breaks in the middle; poll and nanosleep end at a signal all the same. */
void lmb_signals_catch(void (*also)(void))
{
    struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
    sigset_t ours;

    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGUSR1);
    act.sa_mask = ours; /* one at a time */
    each = also;
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    sigaction(SIGUSR1, &act, NULL);
}

bool lmb_interrupted(void) { return count > 0; }
const volatile int *lmb_interruptions(void) { return &count; }
