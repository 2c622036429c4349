/* federated/server.c - see server.h: opening and closing, the loop. */
#include "federated/server.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "core/base/config.h"
#include "core/base/file.h"
#include "federated/server_parts.h"

/* ---- opening ---- */

static lmb_status check(const lmb_server_config *c, const lmb_server_job *job, lmb_error *err)
{
    if (!job->n)
        return LMB_FAIL(err, LMB_E_ARG, "the model has no values");
    LMB_TRY(lmb_server_check_model(c, job->n, job->refine != NULL, err));
    for (size_t k = 0; k < job->n_segments; k++)
        if (job->segments[k].at > job->n || job->segments[k].count > job->n - job->segments[k].at)
            return LMB_FAIL(err, LMB_E_ARG, "segment %zu lies outside the model's %zu values", k, job->n);
    return LMB_OK;
}

/* One server a state_dir: two would commit over each other. */
static lmb_status take_lock(lmb_server *s, lmb_error *err)
{
    char path[4096];
    LMB_TRY(lmb_path_join(path, sizeof path, s->state_dir, "server.lock", err));
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock < 0)
        return LMB_FAIL(err, LMB_E_IO, "%s: cannot create: %s", path, strerror(errno));
    if (flock(s->lock, LOCK_EX | LOCK_NB) != 0)
        return LMB_FAIL(err, LMB_E_IO, "another server is running on %s; stop it or choose another state_dir",
                        s->state_dir);
    return LMB_OK;
}

size_t lmbi_server_width(const lmb_server *s)
{
    if (lmbi_is_async(s))
        return (size_t)(s->cfg.async.concurrency ? s->cfg.async.concurrency : s->cfg.target);
    return (size_t)ceil((double)s->cfg.target * s->cfg.over_select);
}

uint64_t lmbi_server_need(const lmb_server *s) { return lmbi_need(&s->cfg); }

static lmb_status open_aggregator(lmb_server *s, lmb_error *err)
{
    lmb_aggregator_limits limits;

    LMB_TRY(lmb_privacy_open(s->cfg.privacy, (uint64_t)s->cfg.target, &s->privacy, err));
    s->privacy.key = s->job.noise_key;
    s->privacy.repeatable = s->job.noise_key != NULL;
    limits = lmbi_server_limits(&s->cfg, s->job.n, &s->privacy);
    return lmb_change_open(s->cfg.aggregator, &limits, &s->aggregator, &s->aggregator_config, &s->sum, err);
}

static lmb_status restore(lmb_server *s, lmb_error *err)
{
    size_t bytes = 0;
    void *kept = NULL;
    lmb_status st;

    if (s->state.n != s->job.n || memcmp(&s->state.layout, &s->job.layout, sizeof s->job.layout) != 0)
        return LMB_FAIL(err, LMB_E_ARG, "%s holds a federation of another model; choose a new state_dir", s->state_dir);
    if (s->state.has_ledger != s->privacy.on)
        return LMB_FAIL(
            err, LMB_E_ARG,
            s->privacy.on
                ? "%s holds a federation whose %llu rounds had no noise; begin a private one in a new state_dir"
                : "%s holds a private federation of %llu rounds; configure `privacy` as before, or begin in a new "
                  "state_dir",
            s->state_dir, (unsigned long long)s->state.round);
    if (s->state.async != lmbi_is_async(s))
        return LMB_FAIL(err, LMB_E_ARG,
                        "%s holds a federation whose `mode` is %s; configure it as before, or begin in a new state_dir",
                        s->state_dir, lmbi_server_modes[s->state.async]);
    if (s->privacy.on)
        LMB_TRY(lmb_privacy_resume(&s->privacy, &s->state.ledger, err));
    if (s->aggregator->save)
        s->aggregator->save(s->sum, &bytes);
    if (s->state.state_bytes != bytes && s->state.state_bytes)
        return LMB_FAIL(err, LMB_E_ARG,
                        "%s holds %llu bytes of aggregator state, the configuration has %zu; "
                        "configure the aggregator as before",
                        s->state_dir, (unsigned long long)s->state.state_bytes, bytes);
    if (s->state.state_bytes && !(kept = malloc(bytes)))
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to restore the aggregator");
    st = lmb_journal_model(s->journal, &s->state, s->model, kept, err);
    if (st == LMB_OK && kept)
        st = s->aggregator->load(s->sum, kept, bytes, err);
    free(kept);
    return st;
}

static lmb_status open_model(lmb_server *s, lmb_error *err)
{
    bool found;
    s->model = malloc(s->job.n * sizeof *s->model);
    s->delta = malloc(s->job.n * sizeof *s->delta);
    s->next.model = malloc(s->job.n * sizeof *s->model);
    if (s->job.refine)
        s->next.before = malloc(s->job.n * sizeof *s->next.before);
    if (!s->model || !s->delta || !s->next.model || (s->job.refine && !s->next.before))
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a model of %zu values", s->job.n);
    LMB_TRY(lmb_journal_load(s->journal, &s->state, &found, err));
    if (found) {
        LMB_TRY(restore(s, err));
        lmb_log_at(s->job.log, LMB_LOG_INFO, "federated", "%s: going on after round %llu", s->state_dir,
                   (unsigned long long)s->state.round);
    } else {
        memcpy(s->model, s->job.initial, s->job.n * sizeof *s->model);
        s->state.n = s->job.n;
        s->state.layout = s->job.layout;
        s->state.async = lmbi_is_async(s);
        LMB_TRY(lmbi_round_zero(s, err));
    }
    LMB_TRY(lmbi_model_publish(s, err));
    s->blobs[BLOB_GRAPH] =
        (blob){ { lmb_hash_of(s->job.graph, s->job.graph_bytes), s->job.graph_bytes }, s->job.graph };
    s->blobs[BLOB_SESSION] = (blob){ { lmb_hash_of("", 0), 0 }, (const uint8_t *)"" };
    s->blobs[BLOB_SETTINGS] =
        (blob){ { lmb_hash_of(s->job.settings, strlen(s->job.settings)), strlen(s->job.settings) },
                (const uint8_t *)s->job.settings };
    return LMB_OK;
}

static void on_wake(uv_async_t *a)
{
    lmb_server *s = a->data;
    if (!s->draining) {
        s->draining = true;
        s->drain_since = lmbi_now(s);
        lmb_log_at(s->job.log, LMB_LOG_INFO, "federated", "stopping: no new tasks; stop again to end at once");
    }
    if (atomic_load(&s->stops) > 1) {
        s->stopping = true;
        uv_stop(&s->loop);
    } else {
        lmbi_round_look(s);
    }
}

static lmb_status open_loop(lmb_server *s, lmb_error *err)
{
    if (uv_loop_init(&s->loop) != 0)
        return LMB_FAIL(err, LMB_E_IO, "no event loop: too many open files?");
    s->loop_open = true;
    s->listener.data = s->tick.data = s->wake.data = s;
    uv_tcp_init(&s->loop, &s->listener);
    uv_timer_init(&s->loop, &s->tick);
    if (uv_async_init(&s->loop, &s->wake, on_wake) != 0)
        return LMB_FAIL(err, LMB_E_IO, "no event loop: too many open files?");
    return LMB_OK;
}

static lmb_status open_port(lmb_server *s, lmb_error *err)
{
    struct sockaddr_storage a;
    int n = sizeof a, rc;

    if (uv_ip4_addr(s->address, (int)s->cfg.port, (struct sockaddr_in *)&a) != 0 &&
        uv_ip6_addr(s->address, (int)s->cfg.port, (struct sockaddr_in6 *)&a) != 0)
        return LMB_FAIL(err, LMB_E_ARG, "address '%.100s' is not numeric; use 0.0.0.0 for every interface", s->address);
    rc = uv_tcp_bind(&s->listener, (struct sockaddr *)&a, 0);
    if (rc == 0)
        rc = uv_listen((uv_stream_t *)&s->listener, 1024, lmbi_peer_accept);
    if (rc == UV_EADDRINUSE)
        return LMB_FAIL(err, LMB_E_IO, "port %lld on %s is in use by another program; choose another port",
                        (long long)s->cfg.port, s->address);
    if (rc != 0)
        return LMB_FAIL(err, LMB_E_IO, "cannot listen on %s port %lld: %s", s->address, (long long)s->cfg.port,
                        uv_strerror(rc));
    if (uv_tcp_getsockname(&s->listener, (struct sockaddr *)&a, &n) == 0)
        s->port = ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                                : ((struct sockaddr_in *)&a)->sin_port);
    return LMB_OK;
}

/* Keys of every connection that may be open, and some KiB beside them. */
static lmb_status open_vault(lmb_server *s, lmb_error *err)
{
    char sentence[LMB_SECRET_SENTENCE];

    if (!lmb_secret_room((size_t)s->cfg.max_clients * lmb_channel_place + 65536, sentence))
        lmb_log_at(s->job.log, LMB_LOG_WARN, "federated", "%s", sentence);
    return lmb_vault_create(lmb_channel_place, &s->vault, err);
}

static lmb_status open_all(lmb_server *s, lmb_error *err)
{
    char path[4096];
    LMB_TRY(lmb_crash_open(&s->crash, err));
    LMB_TRY(lmb_file_make_private_dir(s->state_dir, err));
    LMB_TRY(lmb_file_make_dirs(s->spool, err));
    LMB_TRY(take_lock(s, err));
    LMB_TRY(open_vault(s, err));
    LMB_TRY(lmb_path_join(path, sizeof path, s->state_dir, "server.key", err));
    LMB_TRY(lmb_key_file(path, s->secret, err));
    LMB_TRY(open_loop(s, err));
    LMB_TRY(open_port(s, err));
    LMB_TRY(lmb_journal_open(s->state_dir, &s->journal, err));
    lmb_journal_crash(s->journal, &s->crash);
    LMB_TRY(lmb_selector_open(s->cfg.selection, &s->selector, &s->selector_config, err));
    LMB_TRY(lmb_codec_open(s->cfg.codec, &s->codec, err));
    LMB_TRY(lmb_codec_open(s->cfg.download, &s->download, err));
    LMB_TRY(open_aggregator(s, err));
    LMB_TRY(lmbi_secure_open(s, err));
    LMB_TRY(open_model(s, err));
    LMB_TRY(lmbi_people_open(s, err));
    return lmbi_board_open(s, err);
}

lmb_status lmb_server_create(const lmb_server_config *cfg, const lmb_server_job *job, lmb_server **out, lmb_error *err)
{
    lmb_server *s;
    lmb_status st;

    LMB_TRY(check(cfg, job, err));
    s = lmb_secret_new(sizeof *s); /* its keys lie in it */
    if (!s)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the server");
    s->cfg = *cfg;
    s->job = *job;
    s->lock = -1;
    if (!job->settings)
        s->job.settings = "";
    if (snprintf(s->address, sizeof s->address, "%s", cfg->address) >= (int)sizeof s->address || !*cfg->state_dir ||
        snprintf(s->state_dir, sizeof s->state_dir, "%s", cfg->state_dir) >= (int)sizeof s->state_dir)
        st = LMB_FAIL(err, LMB_E_ARG, "state_dir must be a path of 1 to %zu characters", sizeof s->state_dir - 1);
    else {
        snprintf(s->spool, sizeof s->spool, "%s/spool", s->state_dir);
        st = open_all(s, err);
    }
    if (st != LMB_OK) {
        lmb_server_destroy(s);
        return st;
    }
    *out = s;
    return LMB_OK;
}

/* ---- running ---- */

void lmbi_server_fail(lmb_server *s, const lmb_error *error)
{
    s->outcome = error->status;
    s->error = *error;
    uv_stop(&s->loop);
}

/* A client that hangs up while we write raises SIGPIPE, which would end the process: keep it blocked on this thread
 * and swallow what is pending, without touching how the process handles signals. */
static void run_quietly(uv_loop_t *loop)
{
    static const struct timespec at_once = { 0, 0 };
    sigset_t pipe, before;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    uv_run(loop, UV_RUN_DEFAULT);
    if (!sigismember(&before, SIGPIPE))
        while (sigtimedwait(&pipe, NULL, &at_once) > 0)
            ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

/* What is promised, and how far it will carry. */
static void tell_privacy(const lmb_server *s)
{
    char text[LMB_PRIVACY_TEXT];
    uint64_t left = lmb_privacy_rounds_left(&s->privacy), wanted = (uint64_t)s->cfg.rounds - s->state.round;

    lmb_privacy_describe(&s->privacy, text);
    lmb_log_at(s->job.log, LMB_LOG_INFO, "federated", "privacy: %s", text);
    if (left < wanted)
        lmb_log_at(s->job.log, LMB_LOG_WARN, "federated",
                   "the privacy budget is enough for %llu of the %llu rounds that are left", (unsigned long long)left,
                   (unsigned long long)wanted);
}

lmb_status lmb_server_run(lmb_server *s, lmb_error *err)
{
    uv_update_time(&s->loop);
    if (lmb_server_over(s)) {
        if (s->state.round < (uint64_t)s->cfg.rounds)
            lmbi_round_spent(s, lmb_privacy_share(&s->privacy)); /* says so */
        LMB_TRY(lmb_journal_untold(s->journal, &s->expected, err));
        if (!s->expected)
            return LMB_OK;
        lmbi_round_enter(s, PHASE_FAREWELL);
    } else {
        if (s->privacy.on)
            tell_privacy(s);
        lmbi_secure_describe(s);
        LMB_TRY(lmbi_round_resume(s, err));
    }
    LMB_TRY(lmbi_worker_open(s, err));
    run_quietly(&s->loop);
    lmbi_worker_close(s);
    lmbi_strangers_check(s, true);
    if (s->outcome != LMB_OK) {
        if (err && err->status == LMB_OK)
            *err = s->error;
        return s->outcome;
    }
    if (s->stopping)
        return LMB_FAIL(err, LMB_E_STOPPED, "stopped after round %llu; start again on the same state_dir to go on",
                        (unsigned long long)s->state.round);
    return LMB_OK;
}

void lmb_server_stop(lmb_server *s)
{
    atomic_fetch_add(&s->stops, 1);
    uv_async_send(&s->wake);
}

static void close_handle(uv_handle_t *h, void *unused)
{
    (void)unused;
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

void lmb_server_destroy(lmb_server *s)
{
    if (!s)
        return;
    while (s->peers)
        lmbi_peer_close(s->peers);
    if (s->loop_open) {
        uv_walk(&s->loop, close_handle, NULL);
        uv_run(&s->loop, UV_RUN_DEFAULT);
        uv_loop_close(&s->loop);
    }
    for (member *m = s->members, *next; m; m = next) {
        next = m->next;
        lmb_upload_leave(&m->upload); /* another server goes on with it */
        lmbi_secure_forget(m);
        free(m);
    }
    lmbi_round_drop(s);
    if (s->aggregator)
        s->aggregator->destroy(s->sum);
    lmbi_secure_close(s);
    free(s->aggregator_config);
    free(s->selector_config);
    free(s->model);
    free(s->delta);
    lmb_board_http_stop(s->board);
    lmbi_people_close(s);
    free(s->encoded);
    lmbi_fares_free(s);
    free(s->buffered.v);
    free(s->next.encoded);
    free(s->next.before);
    free(s->next.model);
    lmb_journal_close(s->journal);
    if (s->lock >= 0)
        close(s->lock);
    lmb_vault_destroy(s->vault);
    lmb_secret_free(s);
}

/* ---- looking ---- */

int lmb_server_port(const lmb_server *s) { return s->port; }
uint64_t lmb_server_round(const lmb_server *s) { return s->state.round; }
bool lmb_server_over(const lmb_server *s)
{
    return s->state.round >= (uint64_t)s->cfg.rounds ||
           (s->privacy.on && !lmb_privacy_allows(&s->privacy, lmb_privacy_share(&s->privacy)));
}
const float *lmb_server_model(const lmb_server *s) { return s->model; }
const lmb_privacy *lmb_server_privacy(const lmb_server *s) { return &s->privacy; }
double lmb_server_first_score(const lmb_server *s) { return s->state.first_score; }

lmb_status lmb_server_best(lmb_server *s, float *out, uint64_t *round, double *score, lmb_error *err)
{
    if (!s->state.has_best || s->state.best_round == s->state.model_round)
        memcpy(out, s->model, s->job.n * sizeof *out);
    else
        LMB_TRY(lmb_journal_best(s->journal, &s->state, out, err));
    *round = s->state.has_best ? s->state.best_round : s->state.model_round;
    *score = s->state.has_best ? s->state.best_score : NAN;
    return LMB_OK;
}
