/* tests/federated/attack.h - one client, or a stranger, that does what none should in a round of two honest ones; and
 * what must come of it. */
#ifndef LMB_TESTS_FEDERATED_ATTACK_H
#define LMB_TESTS_FEDERATED_ATTACK_H

#include "tests/federated/raw.h"

typedef struct attack {
    void (*attack)(world *w, raw *r);
    const char *sentence; /* in the server's log */
    double gather_s;      /* 0: the attacker joins as third of three, and the round waits for it */
} attack;

/* `a` is refused with its sentence, and the round goes on with the two honest clients. */
static inline void withstand(const attack *a)
{
    world w;
    world_client c[2];
    raw r;

    memset(c, 0, sizeof c);
    world_open(&w);
    w.cfg.rounds = 1;
    w.cfg.minimum = 2;
    w.cfg.target = 3;
    w.cfg.gather_s = a->gather_s > 0 ? a->gather_s : 60;
    w.cfg.reconnect_s = 0.2;
    w.cfg.deadline_s = 20;
    world_start(&w);
    for (int k = 0; k < 2 && a->gather_s <= 0; k++)
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    a->attack(&w, &r);
    ck_assert_msg(world_says(&w, a->sentence), "no '%s' in the log:\n%s", a->sentence, w.text);
    ck_assert(!world_said(&w, "\x1b")); /* names cannot paint the terminal */
    raw_close(&r);
    for (int k = 0; k < 2 && a->gather_s > 0; k++) /* a stranger's turn is over before the round may be */
        world_client_start(&w, &c[k], k, lmb_server_port(w.server));
    world_join(&w);
    ck_assert_uint_eq(w.reports[1].updates, 2);
    ck_assert(w.reports[1].committed);
    for (int k = 0; k < 2; k++) {
        world_client_join(&c[k]);
        ck_assert_int_eq(c[k].status, LMB_OK);
    }
    world_close(&w);
}

#endif
