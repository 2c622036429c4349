/* Mirrors federated/server_secagg.c, server_session.c, client_secagg.c, secure.c, papers.c: what either side must
 * refuse is refused with a sentence: settings, clients that cheat, servers that ask for too much or for a sum again, a
 * damaged journal. The sum of the others goes on.
 */
#include <sqlite3.h>

#include "core/base/file.h"
#include "tests/federated/secagg_partner.h"

/* ---- a journal that somebody had a hand in ---- */

/* Somebody's hand in the journal, while no server runs. */
static void meddle(const char *state_dir, const char *sql)
{
    char path[300];
    sqlite3 *db;

    ck_ok(lmb_path_join(path, sizeof path, state_dir, "journal.db", &err));
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* A number that damage made would be one that clients have answered: the server says so, and does not begin. */
START_TEST(a_damaged_number_is_told)
{
    static const char *const damaged[] = { "x'07'", "x'0000000000000000'", "x'ffffffffffffffff'",
                                           "x'010000000000000000'", "'garbage'", "x''", "NULL" };
    char sql[120];
    fed f;

    fed_open(&f, "{clip: 4}", 3);
    ck_ok(lmb_server_create(&f.w.cfg, &f.w.job, &f.w.server, &err)); /* makes the folder */
    lmb_server_destroy(f.w.server);
    f.w.server = NULL;
    for (size_t k = 0; k < sizeof damaged / sizeof *damaged; k++) {
        lmb_server *s = NULL;
        err = (lmb_error)LMB_ERROR_INIT;
        snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO papers (name, bytes) VALUES ('secure-sum', %s)", damaged[k]);
        meddle(f.w.state, sql);
        ck_assert_msg(lmb_server_create(&f.w.cfg, &f.w.job, &s, &err) == LMB_E_FORMAT, "'%s'", damaged[k]);
        ck_assert_msg(strstr(err.msg, "number of the last secure sum") || strstr(err.msg, "'secure-sum' in it"), "%s",
                      err.msg);
    }
    fed_close(&f);
}
END_TEST

/* Whoever shortens the admin's key makes nobody's word count, not anybody's. */
START_TEST(a_damaged_admin_is_told)
{
    static const char *const damaged[] = { "x'07'", "x''", "NULL" };
    char sql[120];
    fed f;

    fed_open(&f, "{clip: 4}", 3);
    for (size_t k = 0; k < sizeof damaged / sizeof *damaged; k++) {
        uint8_t key[LMB_SIGN_PUBLIC];
        lmb_journal *j;
        bool known;
        err = (lmb_error)LMB_ERROR_INIT;
        ck_ok(lmb_journal_open(f.w.state, &j, &err));
        snprintf(sql, sizeof sql, "INSERT OR REPLACE INTO papers (name, bytes) VALUES ('admin', %s)", damaged[k]);
        meddle(f.w.state, sql);
        ck_assert_msg(lmb_journal_admin(j, key, &known, &err) == LMB_E_FORMAT, "'%s'", damaged[k]);
        ck_assert_ptr_nonnull(strstr(err.msg, "'admin' in it"));
        lmb_journal_close(j);
    }
    fed_close(&f);
}
END_TEST

/* The server forgets which numbers it has used, or plays an old one again: clients that have answered do not do so
 * twice, not even after they were started anew. */
START_TEST(a_sum_is_answered_once)
{
    fed f;
    fed_open(&f, "{clip: 4}", 4);
    f.w.cfg.rounds = 1;
    world_start(&f.w);
    fed_clients(&f, 4);
    fed_join(&f, 4);
    lmb_server_destroy(f.w.server);
    meddle(f.w.state, "DELETE FROM papers WHERE name = 'secure-sum'");
    f.w.cfg.rounds = 2;
    world_start(&f.w);
    for (int k = 0; k < 4; k++) {
        f.c[k].invite[0] = 0; /* the port is another one */
        world_client_start(&f.w, &f.c[k], k, lmb_server_port(f.w.server));
    }
    fed_join(&f, 4);
    ck_assert(world_said(&f.w, "it could not train: the server begins secure sum 1; "
                               "this client has answered number 1, and answers each once"));
    ck_assert(!f.w.reports[2].committed && f.w.reports[2].updates == 0);
    fed_close(&f);
}
END_TEST
/* ---- who does not keep to it ---- */

/* One client of five does not keep to the protocol. The others' sum is what it is without it. */
typedef enum {
    WRONG_SESSION, OVERSIZE, AHEAD, NOT_SIGNED, LATE, METRICS, EXAMPLES, SHORT, ANOTHER_CODEC, BAD_HASH, NO_MASKED
} offence;

static void offend(const world *w, partner *p, offence what)
{
    uint8_t junk[100] = { 0 };
    lmb_record rec = { LMB_MSG_SECAGG, UINT32_MAX, 0, junk, sizeof junk };

    partner_begin(p);
    switch (what) {
    case WRONG_SESSION: p->reply.text[1] ^= 1; answer(p); return;
    case NOT_SIGNED: p->reply.text[p->reply.n - 1] ^= 1; answer(p); return;
    case OVERSIZE: ck_ok(lmb_channel_send(p->r.channel, &rec, &err)); raw_flush(&p->r); return;
    case AHEAD:
        junk[0] = LMB_SECAGG_REVEAL;
        say(p, junk, sizeof junk);
        return;
    default: break;
    }
    answer(p);
    hear(p);
    answer(p);
    hear(p);
    partner_vector(w, p);
    lmb_update_message m = partner_update(p);
    if (what == LATE) { /* it says that it can not, is let go, and sends its vector all the same */
        lmb_round_note note = { .round = 1, .sentence = "no time" };
        ck_ok(lmb_message_send(p->r.channel, LMB_MSG_FAILED, &note, &err));
        ck_assert(raw_wait(&p->r, LMB_MSG_REFUSED, &rec));
    }
    if (what != NO_MASKED)
        answer(p);
    if (what == METRICS)
        lmb_figures_add(&m.metrics, "loss", 1);
    if (what == EXAMPLES)
        m.examples = 50;
    if (what == SHORT)
        m.blob.bytes--;
    if (what == ANOTHER_CODEC)
        strcpy(m.codec, "f32");
    if (what == BAD_HASH)
        p->packed[7] ^= 1;
    ck_ok(lmb_message_send(p->r.channel, LMB_MSG_UPDATE, &m, &err));
    raw_flush(&p->r);
    if (what == METRICS || what == BAD_HASH || what == NO_MASKED)
        partner_upload(p, &m, p->bytes);
}

START_TEST(a_client_that_cheats_is_out)
{
    static const struct {
        offence what;
        const char *why;
    } rows[] = {
        { WRONG_SESSION, "speaks of another session" },
        { NOT_SIGNED, "client 5" },
        { OVERSIZE, "a message of 4294967295 bytes for a secure sum" },
        { AHEAD, "it could not train|owes|REVEAL|ADVERTISE" },
        { LATE, "it could not train: no time" },
        { METRICS, "the update comes with metrics" },
        { EXAMPLES, "allowed are 1 to 1" },
        { SHORT, "values take" },
        { ANOTHER_CODEC, "this server asked for ring" },
        { BAD_HASH, "its hash differs" },
        { NO_MASKED, "MASKED" },
    };
    float *without = model_with("{mode: off, clip: 4}", AT_TASK, 4, false);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        partner p;
        fed f;
        mark_point();
        fed_open(&f, "{clip: 4}", 5);
        f.w.cfg.rounds = 1;
        f.w.cfg.minimum = 4;
        f.w.cfg.reconnect_s = 0.1;
        f.w.cfg.gather_s = 1000;
        world_start(&f.w);
        fed_clients(&f, 4);
        partner_join(&f, &p, 4);
        offend(&f.w, &p, rows[i].what);
        ck_assert_msg(world_says(&f.w, "round 1 goes on without client 5"), "case %zu", i);
        if (!strchr(rows[i].why, '|'))
            ck_assert_msg(world_said(&f.w, rows[i].why), "case %zu: %s", i, f.w.text);
        raw_close(&p.r);
        p.r.channel = NULL;
        fed_join(&f, 4);
        ck_assert_uint_eq(f.w.reports[1].updates, 4);
        ck_assert_mem_eq(lmb_server_model(f.w.server), without, WORLD_N * sizeof *without);
        partner_close(&p);
        fed_close(&f);
    }
    free(without);
}
END_TEST

/* What a client insists on it gets, or it does not take part. */
START_TEST(a_client_refuses)
{
    static const struct {
        const char *server, *client, *why;
    } rows[] = {
        { NULL, "{required: true}",
          "the server does not offer secure aggregation, and this client takes part under nothing else" },
        { "{mode: off, clip: 4}", "{required: true}", "the server wants updates in the clear" },
        { "{clip: 4}", "{required: true, mode: malicious}", NULL },
        { "{clip: 4}", "{required: true, floor: 0.9}", "threshold" },
        { "{clip: 4}", "{clients_min: 9}", "4 clients take part, this client wants 9 at least" },
        { "{clip: 4, neighbours: 2, threshold: 2}", "{neighbours_min: 3}",
          "the server gives 2 neighbours, this client wants 3 at least" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fed f;
        mark_point();
        fed_open(&f, rows[i].server ? rows[i].server : "{}", 4);
        if (!rows[i].server)
            f.w.cfg.secure_aggregation = NULL;
        f.client = parse(rows[i].client);
        if (!rows[i].why) { /* the settings themselves */
            lmb_client_config cfg;
            lmb_client *c;
            lmb_fields_default(lmb_client_fields, &cfg);
            cfg.state_dir = f.w.dir;
            cfg.secure_aggregation = lmb_config_root(f.client);
            ck_assert_int_eq(lmb_client_create(&cfg, "", &(lmb_local_trainer){ 0 }, NULL, &c, &err), LMB_E_ARG);
            ck_assert_ptr_nonnull(strstr(err.msg, "the public key of the federation's admin (client.admin)"));
            fed_close(&f);
            continue;
        }
        f.w.cfg.rounds = 1;
        for (int k = 0; k < 4; k++)
            people[k].secure = lmb_config_root(f.client);
        world_start(&f.w);
        fed_clients(&f, 4);
        fed_join(&f, 4);
        ck_assert(!f.w.reports[1].committed);
        ck_assert_msg(world_said(&f.w, rows[i].why), "case %zu: %s", i, f.w.text);
        fed_close(&f);
    }
}
END_TEST

/* What could wrap, tell, or never succeed is refused before anyone joins. */
START_TEST(configurations)
{
    static const struct {
        const char *yaml, *why; /* why NULL: is taken */
    } rows[] = {
        { "{secure_aggregation: {clip: 0.1}}", NULL },
        { "{secure_aggregation: {clip: 0.1}, aggregator: fedadam}", NULL },
        { "{secure_aggregation: {}}", "secure_aggregation.clip is missing" },
        { "{secure_aggregation: {clip: 0.1, ring_bits: 20}}", "needs a ring of 30 bits, it has 20" },
        { "{secure_aggregation: {clip: 0.1, value_bits: 24, weight_max: 268435456}, target: 100000}",
          "needs a ring of" },
        { "{secure_aggregation: {clip: 0.1}, aggregator: median}", "aggregator median needs more than the sum" },
        { "{secure_aggregation: {clip: 0.1}, aggregator: krum}", "aggregator krum needs more than the sum" },
        { "{secure_aggregation: {clip: 0.1}, aggregator: scaffold}", "aggregator scaffold needs more than the sum" },
        { "{secure_aggregation: {clip: 0.1}, codec: int8}", "has its own encoding" },
        { "{secure_aggregation: {clip: 0.1}, clip_norm: 1}", "clip_norm (1) looks at single updates" },
        { "{secure_aggregation: {clip: 0.1}, target: 2}", "a sum is of 3 clients at least, and target is 2" },
        { "{secure_aggregation: {clip: 0.1, mode: malicious}}", "takes a roster that somebody else has signed" },
        { "{secure_aggregation: {clip: 0.1, mode: malicious}, "
          "admin: \"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\"}",
          NULL },
        { "{secure_aggregation: {clip: 0.1, neighbours: 4}}", "are given together or not at all" },
        { "{secure_aggregation: {clip: 0.1, neighbours: 4, threshold: 5}}", "it is from 2 to that" },
        { "{secure_aggregation: {clip: 0.1, neighbours: 8, threshold: 2}}", "" },
        { "{secure_aggregation: {clip: 0.1, dropouts: 0.6}}", "dropouts" },
        { "{secure_aggregation: {clip: 0.1, who: 3}}", "who" },
        { "{secure_aggregation: {clip: 0.1}, mode: async}", "hides an update among those of the same round" },
        { "{secure_aggregation: {clip: 0.1}, over_select: 1.5}", "each of them costs the sum a neighbour" },
        { "{secure_aggregation: {clip: 0.1}, selection: by_loss}", "goes by what clients tell" },
        { "{secure_aggregation: {clip: 0.1}, selection: round_robin}", NULL },
        { "{secure_aggregation: {}, privacy: {clip: 0.5}}", NULL },
        { "{secure_aggregation: {noise: central}, privacy: {clip: 0.5, sampling: poisson, population: 100}}", NULL },
        { "{secure_aggregation: {}, privacy: {clip: 0.5, sampling: poisson, population: 100}}",
          "privacy.sampling must be all" },
        { "{secure_aggregation: {clip: 0.1}, privacy: {clip: 0.5}}", "leave the former out" },
        { "{secure_aggregation: {}, privacy: {clip: adaptive, noise_multiplier: 0.4, epsilon_budget: 100}}",
          "privacy.clip is adaptive" },
        { "{secure_aggregation: {mode: off}, privacy: {clip: 0.5}}", "hides nothing" },
        { "{secure_aggregation: {value_bits: 4}, privacy: {clip: 0.5}}", "take more value_bits" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmb_config *yaml = parse(rows[i].yaml);
        lmb_server_config c;
        ck_ok(lmb_fields_bind(lmb_server_fields, lmb_config_root(yaml), &c, &err));
        lmb_status st = lmb_server_check(&c, &err);
        ck_assert_msg((st == LMB_OK) == !rows[i].why, "%s: %s", rows[i].yaml, err.msg);
        if (rows[i].why)
            ck_assert_msg(strstr(err.msg, rows[i].why) != NULL, "%s: %s", rows[i].yaml, err.msg);
        lmb_config_destroy(yaml);
    }
}
END_TEST

LMB_TEST_MAIN("federated/secagg_refused", add(a_damaged_number_is_told); add(a_damaged_admin_is_told);
              add(a_sum_is_answered_once); add(a_client_that_cheats_is_out); add(a_client_refuses);
              add(configurations);)
