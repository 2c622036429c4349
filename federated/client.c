/* federated/client.c - see client.h: who the client is, and its way through connections that come and go. */
#include "federated/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/threads.h"
#include "federated/client_parts.h"

/* SECRETS_ROOM: for the keys of a client, its channel and a secure sum of some hundred neighbours. */
enum { REJECTED_MAX = 5, SECRETS_ROOM = 1 << 18 };
static const double look_s = 20; /* at the clock, while it rests */

const lmb_field lmb_client_fields[] = {
    LMB_TEXT(lmb_client_config, name, "", "how the server's log calls this client; the host name when empty"),
    LMB_TEXT(lmb_client_config, state_dir, "", "folder for the client's key; ~/.limbeck when empty"),
    LMB_TEXT(
        lmb_client_config, admin, "",
        "public key of the federation's admin: work only with clients of a roster that it signed; whoever the server says when empty"),
    LMB_BOOL(lmb_client_config, rotate_keys, 0, "change this client's keys when it has next connected, once"),
    LMB_INT(lmb_client_config, max_model_mib, 4096, 1, 1 << 20, "MiB", "greatest model this client accepts"),
    LMB_REAL(lmb_client_config, connect_s, 30, 0.1, 3600, "s", "longest wait for a connection and its handshake"),
    LMB_REAL(lmb_client_config, retry_s, 30, 0.1, 3600, "s", "longest pause between two attempts to connect"),
    LMB_REAL(lmb_client_config, idle_s, 120, 0.1, 86400, "s",
             "a server silent for so long is gone; it answers signs of life"),
    LMB_REAL(lmb_client_config, give_up_s, 0, 0, 1e7, "s", "end after so long without a server; 0: never"),
    LMB_INT(lmb_client_config, threads, 0, 0, 1024, "", "threads to train on at most; 0: as the server's settings say"),
    LMB_INT(lmb_client_config, nice, 0, 0, 19, "", "niceness of training"),
    LMB_TEXT(lmb_client_config, quiet, "", "local time in which nothing is done, as \"22:00-07:00\""),
    LMB_TEXT(lmb_client_config, ask, "",
             "shell command; nothing is done unless it exits with 0 (battery, metered line)"),
    LMB_REAL(lmb_client_config, ask_s, 60, 0.1, 86400, "s",
             "time between two times of asking; it is also asked before each round"),
    LMB_TREE(lmb_client_config, secure_aggregation,
             "what this client insists on: required, mode, floor, ...; docs/secure-aggregation.md"),
    LMB_FIELD_END,
};

static lmb_status path_of(const lmb_client *c, const char *name, char out[4096], lmb_error *err)
{
    return lmb_path_join(out, 4096, c->path, name, err);
}

/* ---- identity ---- */

static lmb_status saved_invite(const lmb_client *c, lmb_invite *out, bool *found, lmb_error *err)
{
    char path[4096];
    void *text;
    size_t n;
    lmb_status st;

    LMB_TRY(path_of(c, "server.txt", path, err));
    *found = lmb_file_exists(path);
    if (!*found)
        return LMB_OK;
    LMB_TRY(lmb_file_read(path, LMB_INVITE_MAX, &text, &n, err));
    st = lmb_invite_parse(text, out, err);
    free(text);
    return st == LMB_OK ? LMB_OK : lmb_error_context(err, "%s", path);
}

/* The invite without its token is all that later connections need. */
lmb_status lmbi_client_remember(lmb_client *c, lmb_error *err)
{
    lmb_invite plain = c->invite;
    char path[4096], text[LMB_INVITE_MAX];
    memset(plain.token, 0, sizeof plain.token);
    LMB_TRY(path_of(c, "server.txt", path, err));
    LMB_TRY(lmb_invite_format(&plain, text, err));
    LMB_TRY(lmb_file_write(path, text, strlen(text), err));
    c->enrolled = c->known = true;
    lmb_crash_at(&c->crash, LMB_CRASH_CLIENT_REMEMBERED);
    return LMB_OK;
}

/* Nanoseconds since 1970, but always later than the last time: boards without a battery forget the date. */
lmb_status lmbi_client_clock(lmb_client *c, uint64_t *out, lmb_error *err)
{
    struct timespec now;
    char path[4096], text[32] = "";
    unsigned long long last = 0;
    void *data;
    size_t n;

    LMB_TRY(path_of(c, "clock", path, err));
    if (lmb_file_exists(path)) {
        LMB_TRY(lmb_file_read(path, sizeof text - 1, &data, &n, err));
        last = strtoull(data, NULL, 10);
        free(data);
    }
    clock_gettime(CLOCK_REALTIME, &now);
    *out = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    if (*out <= last)
        *out = last + 1;
    snprintf(text, sizeof text, "%llu\n", (unsigned long long)*out);
    return lmb_file_write(path, text, strlen(text), err);
}

/* One client a state_dir: two would take each other's place on the server, and could answer one secure sum twice. */
static lmb_status take_lock(lmb_client *c, lmb_error *err)
{
    char path[4096];
    LMB_TRY(path_of(c, "client.lock", path, err));
    c->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (c->lock < 0)
        return LMB_FAIL(err, LMB_E_IO, "%s: cannot create: %s", path, strerror(errno));
    if (flock(c->lock, LOCK_EX | LOCK_NB) != 0)
        return LMB_FAIL(err, LMB_E_IO, "another client is running on %s; stop it or choose another state_dir", c->path);
    return LMB_OK;
}

static lmb_status identify(lmb_client *c, const char *invite, lmb_error *err)
{
    lmb_invite saved;
    char print[LMB_FINGERPRINT];
    bool found;

    LMB_TRY(lmb_file_make_private_dir(c->path, err)); /* what is kept of updates and of its own model lies there */
    LMB_TRY(take_lock(c, err));
    LMB_TRY(lmbi_trust_open(c, err));
    lmb_fingerprint(lmb_sign_public(c->sign_secret), print);
    lmb_log_at(c->log, LMB_LOG_INFO, "federated", "this client's fingerprint is %s", print);
    LMB_TRY(saved_invite(c, &saved, &found, err));
    if (invite && *invite) {
        LMB_TRY(lmb_invite_parse(invite, &c->invite, err));
        c->token = lmb_token_derive(c->invite.token);
        c->has_token = true;
        c->known = c->enrolled = found && memcmp(saved.server_public, c->invite.server_public, LMB_NOISE_KEY) == 0;
    } else if (found) {
        c->invite = saved;
        c->known = c->enrolled = true;
    } else {
        return LMB_FAIL(err, LMB_E_ARG, "this client has joined no federation yet (%s); give it an invite", c->path);
    }
    return LMB_OK;
}

lmb_status lmb_client_create(const lmb_client_config *cfg, const char *invite, const lmb_local_trainer *trainer,
                             const lmb_log *log, lmb_client **out, lmb_error *err)
{
    lmb_client *c = lmb_secret_new(sizeof *c); /* its keys lie in it */
    char sentence[LMB_SECRET_SENTENCE];
    lmb_status st = LMB_OK;

    if (!c)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a client");
    c->cfg = *cfg;
    c->trainer = *trainer;
    c->log = log;
    if (!lmb_secret_room(SECRETS_ROOM, sentence))
        lmb_log_at(log, LMB_LOG_WARN, "client", "%s", sentence);
    c->fd = c->lock = c->wake[0] = c->wake[1] = c->fetching = -1;
    if (!*cfg->state_dir || snprintf(c->path, sizeof c->path, "%s", cfg->state_dir) >= (int)sizeof c->path)
        st = LMB_FAIL(err, LMB_E_ARG, "state_dir must be a path of 1 to %zu characters", sizeof c->path - 1);
    else if ((st = lmbi_manners_check(cfg, err)) != LMB_OK)
        ;
    else if (pipe2(c->wake, O_NONBLOCK | O_CLOEXEC) != 0)
        st = LMB_FAIL(err, LMB_E_IO, "cannot make a pipe: %s", strerror(errno));
    else if ((st = lmb_crash_open(&c->crash, err)) == LMB_OK && (st = lmbi_session_open(c, err)) == LMB_OK)
        st = identify(c, invite, err);
    if (st != LMB_OK) {
        lmb_client_destroy(c);
        return st;
    }
    *out = c;
    return LMB_OK;
}

void lmb_client_destroy(lmb_client *c)
{
    if (!c)
        return;
    lmbi_work_join(c);
    lmbi_link_close(c);
    lmbi_work_free(c);
    lmbi_trust_close(c);
    for (int i = 0; i < 2; i++)
        if (c->wake[i] >= 0)
            close(c->wake[i]);
    if (c->lock >= 0)
        close(c->lock);
    lmb_secret_free(c);
}

void lmb_client_stop(lmb_client *c)
{
    atomic_store(&c->stop, true);
    atomic_store(&c->cancelled, true);
    if (write(c->wake[1], "s", 1) < 0) {
        /* the pipe is full: it will wake up anyhow */
    }
}

/* ---- coming and going ---- */

/* One connection, from handshake to its end. */
static lmb_status converse(lmb_client *c, lmb_error *err)
{
    lmb_status st = lmbi_link_open(c, err);
    while (st == LMB_OK && !c->finished && !c->resting && c->later <= 0 && !atomic_load(&c->stop)) {
        st = lmbi_link_turn(c, 1, err);
        c->resting |= !lmbi_manners_go(c, false);
    }
    if (st == LMB_OK && c->channel)
        lmb_channel_close(c->channel);
    lmbi_link_close(c);
    return st;
}

/* Wait until it may work. What was being trained is given up, what was trained is kept. */
static void rest(lmb_client *c)
{
    lmb_log_at(c->log, LMB_LOG_INFO, "federated", "resting: %s", c->why);
    lmbi_work_rest(c);
    do
        lmbi_link_pause(c, c->cfg.ask_s < look_s ? c->cfg.ask_s : look_s);
    while (!atomic_load(&c->stop) && !lmbi_manners_go(c, false));
    c->resting = false;
}

static bool is_own_fault(lmb_status st) { return st == LMB_E_IO || st == LMB_E_NOMEM; }

/* Is there any sense in trying again? A handshake that a server breaks off again and again means a wrong invite, or a
 * server that has forgotten us; where it has taken us before it may as well be a tunnel whose other end is down. */
static bool hopeless(lmb_client *c, lmb_status st, lmb_error *err)
{
    if (st == LMB_E_PEER && c->rejected >= REJECTED_MAX) {
        c->rejected = 0;
        if (c->known && c->has_token)
            c->enrolled = !c->enrolled;
        if (!c->known)
            err->status = LMB_E_DENIED;
        return !c->known;
    }
    if (st == LMB_E_PEER || st == LMB_E_FORMAT)
        return false;
    if (is_own_fault(st)) /* a disk that is full now: nobody sits by a device to start this again */
        return false;
    if (c->trust.refused)
        return true;
    if (st == LMB_E_DENIED && c->trust.rotating &&
        c->enrolled) { /* the answer to our change of keys may have been lost */
        lmb_log_at(c->log, LMB_LOG_WARN, "federated", "%s; trying the new keys", err->msg);
        return lmbi_trust_adopt(c, err) != LMB_OK;
    }
    if (st == LMB_E_DENIED && c->enrolled && c->has_token) { /* the server may have forgotten us: enrol again */
        c->enrolled = false;
        lmb_log_at(c->log, LMB_LOG_WARN, "federated", "%s; trying the invite", err->msg);
        return false;
    }
    return true;
}

lmb_status lmb_client_run(lmb_client *c, lmb_error *err)
{
    const double first = c->cfg.retry_s < 0.25 ? c->cfg.retry_s : 0.25;
    double since = lmb_seconds(), pause = first;

    while (!c->finished && !atomic_load(&c->stop)) {
        lmb_error e = LMB_ERROR_INIT;
        if (c->resting || !lmbi_manners_go(c, false)) {
            rest(c);
            since = lmb_seconds();
            continue;
        }
        lmb_status st = converse(c, &e);
        if (st == LMB_OK) {
            lmbi_link_pause(c, c->later * (0.75 + randombytes_uniform(1000) / 2000.0)); /* others were told the same */
            c->later = 0;
            since = lmb_seconds();
            continue;
        }
        if (c->heard) {
            since = lmb_seconds();
            if (!is_own_fault(st)) /* else the server would hear of it four times a second */
                pause = first;
        }
        if (hopeless(c, st, &e)) {
            if (err && err->status == LMB_OK)
                *err = e;
            return e.status;
        }
        if (c->cfg.give_up_s > 0 && lmb_seconds() - since > c->cfg.give_up_s)
            return LMB_FAIL(err, LMB_E_TIMEOUT, "no server for %g s (give_up_s): %s", c->cfg.give_up_s, e.msg);
        lmb_log_at(c->log, LMB_LOG_INFO, "federated", "%s; trying again", e.msg);
        lmbi_link_pause(c, pause * (0.5 + randombytes_uniform(1000) / 2000.0));
        pause = pause * 2 < c->cfg.retry_s ? pause * 2 : c->cfg.retry_s;
    }
    lmbi_work_join(c);
    return c->finished ? LMB_OK : LMB_FAIL(err, LMB_E_STOPPED, "stopped; start again to go on");
}
