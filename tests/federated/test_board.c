/* Mirrors federated/board*.c and server_board.c: what people and machines are shown, and what not. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/base/config.h"
#include "federated/board.h"
#include "federated/board_http.h"
#include "tests/federated/world.h"

static lmb_error err;

/* One request, word for word; the answer is NUL-terminated in `out`. */
static void ask(int port, const char *request, char *out, size_t cap)
{
    struct sockaddr_in a = { .sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval limit = { 10, 0 };
    size_t n = 0;
    ssize_t got;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_ge(fd, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    ck_assert_int_eq(send(fd, request, strlen(request), MSG_NOSIGNAL), (ssize_t)strlen(request));
    while (n + 1 < cap && (got = recv(fd, out + n, cap - 1 - n, 0)) > 0)
        n += (size_t)got;
    out[n] = 0;
    close(fd);
}

START_TEST(a_running_server_tells)
{
    static char out[1 << 20];
    static const char yaml[] = "{address: 127.0.0.1, port: 0}";
    lmb_board_config page = { "127.0.0.1", 0 };
    lmb_config *c;
    lmb_str text = LMB_STR_INIT;
    world w;
    world_client two[2];

    err = (lmb_error)LMB_ERROR_INIT;
    memset(two, 0, sizeof two);
    ck_ok(lmb_config_parse(yaml, strlen(yaml), "test", &c, &err));
    world_open(&w);
    w.cfg.status = lmb_config_root(c);
    w.cfg.rounds = 3;
    w.cfg.target = w.cfg.minimum = 2;
    lmb_status st = lmb_server_create(&w.cfg, &w.job, &w.server, &err);
    if (st == LMB_E_UNSUPPORTED) {
        printf("skipped: built without libmicrohttpd\n");
        lmb_config_destroy(c);
        world_close(&w);
        return;
    }
    ck_ok(st);
    ck_assert_int_eq(pthread_create(&w.thread, NULL, world_run, &w), 0);
    page.port = lmb_server_status_port(w.server);
    ck_assert_int_gt((int)page.port, 0);
    for (int k = 0; k < 2; k++) {
        two[k].seconds = 1.2;
        two[k].lively = true;
        world_client_start(&w, &two[k], k, lmb_server_port(w.server));
    }
    /* A round is under way: the terminal's text says so. */
    double end = lmb_seconds() + 60;
    while (lmb_seconds() < end && !(text.n && strstr(text.text, "this round: 0 of 2 updates"))) {
        usleep(50000);
        lmb_str_clear(&text);
        if (lmb_board_get(&page, "/status.txt", &text, NULL) != LMB_OK)
            lmb_str_clear(&text);
    }
    ck_assert_msg(text.n && strstr(text.text, "this round: 0 of 2 updates"), "%s", text.n ? text.text : "nothing");
    end = lmb_seconds() + 60; /* and after a round its score is on the page */
    while (lmb_seconds() < end && !strstr(out, "<polyline")) {
        usleep(100000);
        ask((int)page.port, "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n", out, sizeof out);
    }
    ck_assert_ptr_nonnull(strstr(out, "<h2>Score</h2>"));
    ck_assert_ptr_nonnull(strstr(out, "Content-Security-Policy: default-src 'none'"));
    ck_assert_ptr_null(strstr(out, "<script"));
    ck_assert_ptr_null(strstr(out, "src="));
    ck_assert_ptr_null(strstr(out, "tester")); /* numbers, not names */
    ask((int)page.port, "GET /metrics HTTP/1.0\r\nHost: localhost:9\r\n\r\n", out, sizeof out);
    ck_assert_ptr_nonnull(strstr(out, "\nlimbeck_up 1\n"));
    ck_assert_ptr_nonnull(strstr(out, "\nlimbeck_clients{state=\"approved\"} 2\n"));
    ask((int)page.port, "GET /status.json HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n", out, sizeof out);
    ck_assert_ptr_nonnull(strstr(out, "\"rounds\":3"));
    lmb_config *json; /* JSON is YAML: it can be read again */
    const char *body = strstr(out, "\r\n\r\n") + 4;
    ck_ok(lmb_config_parse(body, strlen(body), "status.json", &json, &err));
    lmb_config_destroy(json);
    /* What is not to be answered. */
    ask((int)page.port, "GET / HTTP/1.0\r\nHost: evil.example.org\r\n\r\n", out, sizeof out);
    ck_assert_ptr_nonnull(strstr(out, " 403 "));
    ask((int)page.port, "GET / HTTP/1.0\r\nHost: localhost.evil.org\r\n\r\n", out, sizeof out);
    ck_assert_ptr_nonnull(strstr(out, " 403 "));
    ask((int)page.port, "GET / HTTP/1.0\r\nHost: 127.evil.org\r\n\r\n", out, sizeof out);
    ck_assert_ptr_nonnull(strstr(out, " 403 "));
    ask((int)page.port, "GET / HTTP/1.0\r\nHost: [::1].evil.org\r\n\r\n", out, sizeof out);
    ck_assert_ptr_nonnull(strstr(out, " 403 "));
    ask((int)page.port, "POST / HTTP/1.0\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc", out, sizeof out);
    ck_assert_ptr_nonnull(strstr(out, " 405 "));
    ask((int)page.port, "GET /../../etc/passwd HTTP/1.0\r\nHost: localhost\r\n\r\n", out, sizeof out);
    ck_assert_ptr_nonnull(strstr(out, " 404 "));
    world_join(&w);
    for (int k = 0; k < 2; k++)
        world_client_join(&two[k]);
    lmb_server_destroy(w.server);
    w.server = NULL;
    ck_assert_int_eq(lmb_board_get(&page, "/status.txt", &text, &err), LMB_E_PEER);
    /* Without a server, the journal tells. */
    lmb_journal *j;
    lmb_board now;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_journal_open(w.state, &j, &err));
    ck_ok(lmb_board_load(j, &now, &err));
    ck_assert(!now.live);
    ck_assert_uint_eq(now.round, 3);
    ck_assert_uint_eq(now.n_history, 4); /* with round 0 */
    ck_assert_uint_eq(now.history[3].updates, 2);
    ck_assert_uint_gt(now.history[3].bytes_in, 2 * WORLD_N * sizeof(float));
    ck_assert_uint_eq(now.n_clients, 2);
    ck_assert_uint_eq(now.clients[1].rounds, 3);
    lmb_board_free(&now);
    lmb_journal_close(j);
    lmb_str_free(&text);
    lmb_config_destroy(c);
    world_close(&w);
}
END_TEST

/* What machines add up does not go back when old rounds leave the page. */
START_TEST(totals_stay)
{
    char dir[] = "/tmp/lmb-board-XXXXXX", cmd[64];
    lmb_journal *j;
    lmb_board now;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_ptr_nonnull(mkdtemp(dir));
    ck_ok(lmb_journal_open(dir, &j, &err));
    for (uint64_t k = 1; k <= 1500; k++) {
        lmb_round_report r = { .round = k,
                               .selected = 3,
                               .updates = 2,
                               .bytes_in = 10,
                               .bytes_out = 20,
                               .committed = k % 3 != 0,
                               .is_private = true,
                               .epsilon = (double)k / 500 };
        if (k <= 1400) /* clients of the last rounds do not tell */
            r.fare[LMB_FARE_VALID] = (lmb_spread){ 30, .5, .6, (double)k / 10000 };
        if (k > 1400) /* but for one, whose own accuracy nobody is shown */
            r.fare[LMB_FARE_VALID] = (lmb_spread){ 1, .9876, .9876, .9876 };
        if (k <= 1400 && k % 2 == 0)
            r.fare[LMB_FARE_PERSONAL] = (lmb_spread){ 20, .7, .8, .25 };
        ck_ok(lmb_journal_report(j, &r, &err));
    }
    ck_ok(lmb_board_load(j, &now, &err));
    ck_assert_uint_eq(now.n_history, 1000);
    ck_assert_uint_eq(now.updates, 3000);
    ck_assert_uint_eq(now.bytes_in, 15000);
    ck_assert_uint_eq(now.bytes_out, 30000);
    ck_assert_uint_eq(now.abandoned, 500);
    lmb_str text = LMB_STR_INIT;
    lmb_board_metrics(&now, &text);
    ck_assert_ptr_nonnull(strstr(text.text, "\nlimbeck_updates_total 3000\n"));
    ck_assert_ptr_nonnull(strstr(text.text, "\nlimbeck_clients_accuracy{model=\"round\",of=\"worst_tenth\"} 0.14\n"));
    ck_assert_ptr_nonnull(strstr(text.text, "\nlimbeck_clients_accuracy{model=\"personal\",of=\"mean\"} 0.7\n"));
    lmb_str_clear(&text);
    lmb_board_text(&now, &text);
    ck_assert_ptr_nonnull(strstr(
        text.text,
        "\n30 clients of round 1400 with the model as it came: mean 50.00 %, median 60.00 %, worst tenth 14.00 %\n"));
    lmb_str_clear(&text);
    lmb_board_page(&now, &text);
    ck_assert_ptr_nonnull(strstr(
        text.text, "<td>with what they made of it</td><td>20</td><td>70.00 %</td><td>80.00 %</td><td>25.00 %</td>"));
    ck_assert_ptr_nonnull(strstr(text.text, "<h2>Accuracy of clients, worst tenth, %</h2>"));
    ck_assert_ptr_nonnull(strstr(text.text, "&epsilon; = <b>3</b>"));
    ck_assert_ptr_nonnull(strstr(text.text, "<h2>Epsilon</h2>"));
    lmb_str_clear(&text);
    lmb_board_json(&now, &text);
    ck_assert_ptr_nonnull(
        strstr(text.text, "\"valid_accuracy\":{\"clients\":30,\"mean\":0.5,\"median\":0.6,\"worst_tenth\":0.0501}"));
    ck_assert_ptr_null(strstr(text.text, "9876"));
    lmb_str_free(&text);
    lmb_board_free(&now);
    lmb_journal_close(j);
    snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
    ck_assert_int_eq(system(cmd), 0);
}
END_TEST

START_TEST(addresses)
{
    lmb_board_http *h = NULL;
    lmb_board_config c = { "example.org", 0 };
    lmb_status st = lmb_board_http_start(&c, &h, &err);
    ck_assert(st == LMB_E_ARG || st == LMB_E_UNSUPPORTED);
    ck_assert_ptr_null(h);
}
END_TEST

LMB_TEST_MAIN("federated/board", add(a_running_server_tells); add(totals_stay); add(addresses);)
