/* Mirrors federated/server_secagg.c, server_session.c, client_secagg.c, session.c: secure rounds over real sockets.
 * What comes out is the plain sum of integers of those that are in it, to the last bit, whoever left at which stage,
 * whichever connections were lost, and also where the server was started anew.
 */
#include <math.h>

#include "tests/federated/secagg_partner.h"

static float *model_of(const char *secure, int clients, int64_t device)
{
    fed f;
    float *model = malloc(WORLD_N * sizeof *model);
    fed_open(&f, secure, clients);
    f.w.cfg.device = device;
    world_start(&f.w);
    fed_clients(&f, clients);
    fed_join(&f, clients);
    if (device == LMB_SERVER_CUDA) /* where there is none, with a sentence; else on the played one */
        ck_assert(world_says(&f.w, getenv("LMB_CUDA_MODULE") ? "masks come off on a played GPU"
                                                             : "masks come off on the processor: "));
    ck_assert_uint_eq(f.w.reports[2].updates, (unsigned)clients);
    ck_assert_uint_eq(f.w.reports[2].examples, 10u * (unsigned)(clients * (clients + 1) / 2));
    ck_assert_uint_eq(f.w.reports[2].clients.n, 0); /* nobody's metrics */
    memcpy(model, lmb_server_model(f.w.server), WORLD_N * sizeof *model);
    fed_close(&f);
    return model;
}

START_TEST(hidden_or_in_the_clear_the_sum_is_the_same)
{
    float *open = model_of("{mode: off, clip: 4}", 4, LMB_SERVER_CPU),
          *hidden = model_of("{clip: 4}", 4, LMB_SERVER_CPU);
    float *by_gpu = model_of("{clip: 4}", 4, LMB_SERVER_CUDA);
    ck_assert_mem_eq(open, hidden, WORLD_N * sizeof *open);
    ck_assert_mem_eq(open, by_gpu, WORLD_N * sizeof *open);
    /* and it is the mean: clients k pull half of the way to k + 1, with weights 10, 20, 30, 40: to 3 */
    for (int i = 0; i < WORLD_N; i++) {
        double to = 3 + (i % 3) * 0.01, from = (i % 7) * 0.1f;
        ck_assert_double_lt(fabs(hidden[i] - (to - 0.25 * (to - from))), 4.0 / 32767);
    }
    free(open);
    free(hidden);
    free(by_gpu);
}
END_TEST

START_TEST(a_client_leaves_at_every_stage)
{
    static const struct {
        place last;
        bool malicious, in_sum, revoked;
    } rows[] = {
        { AT_TASK, false, false }, { AT_KEYS, false, false }, { AT_SHARES, false, false }, { AT_HALF, false, false },
        { AT_VECTOR, false, true }, { AT_END, false, true },  { AT_SHARES, true, false },  { AT_HALF, true, false },
        { AT_VECTOR, true, true },  { AT_CONSENT, true, true }, { AT_END, true, true },
        { AT_KEYS, false, false, true }, { AT_SHARES, false, false, true }, { AT_HALF, false, false, true },
        { AT_VECTOR, false, true, true }, { AT_CONSENT, true, true, true },
    };
    float *with = model_with("{mode: off, clip: 4}", AT_END, 5, false),
          *without = model_with("{mode: off, clip: 4}", AT_TASK, 4, false);
    ck_assert_mem_ne(with, without, WORLD_N * sizeof *with);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        float *model = model_with(rows[i].malicious ? "{clip: 4, mode: malicious}" : "{clip: 4}", rows[i].last,
                                  rows[i].in_sum ? 5 : 4, rows[i].revoked);
        ck_assert_msg(memcmp(model, rows[i].in_sum ? with : without, WORLD_N * sizeof *model) == 0, "case %zu", i);
        free(model);
    }
    free(with);
    free(without);
}
END_TEST

/* ---- lost connections, restarts ---- */

static void alive(partner *p, double seconds)
{
    lmb_alive m = { .round = 1 };
    for (double end = lmb_seconds() + seconds; lmb_seconds() < end; usleep(100000)) {
        ck_ok(lmb_message_send(p->r.channel, LMB_MSG_ALIVE, &m, &err));
        raw_flush(&p->r);
    }
}

/* The connection is lost; the same client comes back, and is told the task again. */
static void come_back(fed *f, partner *p, uint64_t time)
{
    lmb_task_message task;
    lmb_record rec;
    raw_close(&p->r);
    raw_open(&p->r, lmb_server_port(f->w.server), NULL, time);
    ck_assert(raw_shake(&p->r));
    raw_hello(&p->r, LMB_FED_VERSION);
    ck_assert(raw_wait(&p->r, LMB_MSG_TASK, &rec));
    ck_ok(lmb_message_read(&rec, &task, &err));
    ck_assert_mem_eq(&task.session, &p->task.session, sizeof task.session);
}

/* Everybody's connection is lost at every stage: the partner's because it hangs up, the others' because the server
 * finds them silent for too long while the partner takes its time. It all goes on. */
START_TEST(connections_are_lost_at_every_stage)
{
    float *with = model_with("{mode: off, clip: 4}", AT_END, 5, false);
    lmb_record rec;
    partner p;
    fed f;

    fed_open(&f, "{clip: 4}", 5);
    f.w.cfg.rounds = 1;
    f.w.cfg.idle_s = 4;
    f.w.cfg.gather_s = 1000;
    f.w.cfg.target = f.w.cfg.minimum = 5;
    world_start(&f.w);
    fed_clients(&f, 4);
    partner_join(&f, &p, 4);
    partner_begin(&p);
    come_back(&f, &p, 1);
    answer(&p);
    alive(&p, 4.5);
    come_back(&f, &p, 2); /* KEYS comes again */
    answer(&p);           /* ADVERTISE once more: it changes nothing */
    hear(&p);
    alive(&p, 4.5);
    come_back(&f, &p, 3);
    lmb_message_pieces again = next(&p); /* KEYS once more */
    ck_assert_uint_eq(again.bytes[0], LMB_SECAGG_KEYS);
    lmb_pieces_drop(&again);
    answer(&p); /* SHARES */
    hear(&p);
    alive(&p, 4.5);
    partner_vector(&f.w, &p);
    lmb_update_message m = partner_update(&p);
    answer(&p);
    partner_upload(&p, &m, p.bytes / 2);
    ck_assert(raw_wait(&p.r, LMB_MSG_HAVE, &rec));
    alive(&p, 4.5);
    come_back(&f, &p, 4);
    answer(&p);
    ck_ok(lmb_message_send(p.r.channel, LMB_MSG_UPDATE, &m, &err));
    ck_assert(raw_wait(&p.r, LMB_MSG_HAVE, &rec));
    lmb_want have;
    ck_ok(lmb_message_read(&rec, &have, &err));
    ck_assert_uint_eq(have.offset, /* nothing is sent twice */
                      p.bytes / 2 / LMB_RECORD_BODY * LMB_RECORD_BODY + p.bytes / 2 % LMB_RECORD_BODY);
    for (size_t at = have.offset; at < p.bytes; at += LMB_RECORD_BODY) {
        lmb_record c = { LMB_MSG_CHUNK, 0, at, p.packed + at,
                         p.bytes - at < LMB_RECORD_BODY ? p.bytes - at : LMB_RECORD_BODY };
        ck_ok(lmb_channel_send(p.r.channel, &c, &err));
    }
    raw_flush(&p.r);
    ck_assert(raw_wait(&p.r, LMB_MSG_ACCEPTED, &rec));
    come_back(&f, &p, 5);
    ck_ok(lmb_message_send(p.r.channel, LMB_MSG_UPDATE, &m, &err)); /* as if ACCEPTED had been lost */
    raw_flush(&p.r);
    hear(&p); /* DROPPED */
    alive(&p, 4.5);
    answer(&p);
    ck_assert(raw_wait(&p.r, LMB_MSG_DONE, &rec));
    raw_close(&p.r);
    p.r.channel = NULL;
    fed_join(&f, 4);
    ck_assert(world_said(&f.w, "was silent for 4 s"));
    ck_assert_uint_eq(f.w.reports[1].updates, 5);
    ck_assert_mem_eq(lmb_server_model(f.w.server), with, WORLD_N * sizeof *with);
    partner_close(&p);
    fed_close(&f);
    free(with);
}
END_TEST

static void restart(fed *f)
{
    lmb_server_stop(f->w.server);
    usleep(100000);
    lmb_server_stop(f->w.server); /* at once, not politely */
    pthread_join(f->w.thread, NULL);
    ck_assert_int_eq(f->w.status, LMB_E_STOPPED);
    f->w.cfg.port = lmb_server_port(f->w.server);
    lmb_server_destroy(f->w.server);
    world_start(&f->w);
}

/* A server that is gone in the middle of a session begins another: the round is repeated with secrets of its own, and
 * the result is the same. */
START_TEST(a_restarted_server_begins_another_session)
{
    float *open = model_of("{mode: off, clip: 4}", 4, LMB_SERVER_CPU);
    fed f;
    fed_open(&f, "{clip: 4}", 4);
    for (int k = 0; k < 4; k++)
        people[k].seconds = k == 3 ? 4 : 0;
    world_start(&f.w);
    fed_clients(&f, 4);
    ck_assert(world_says(&f.w, "round 1 begins"));
    for (int i = 0; i < 6000 && !(people[0].trained && people[1].trained && people[2].trained); i++)
        usleep(10000);
    usleep(500000); /* three vectors are there, one is not */
    people[3].seconds = 0;
    restart(&f);
    fed_join(&f, 4);
    ck_assert_mem_eq(lmb_server_model(f.w.server), open, WORLD_N * sizeof *open);
    ck_assert_int_eq(people[0].trained, 3);
    fed_close(&f);
    free(open);
}
END_TEST

LMB_TEST_MAIN("federated/secagg_rounds", add(hidden_or_in_the_clear_the_sum_is_the_same);
              add(a_client_leaves_at_every_stage); add(connections_are_lost_at_every_stage);
              add(a_restarted_server_begins_another_session);)
