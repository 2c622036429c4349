/* federated/client_work.c - what a client does: fetch the task's blobs (client_fetch.c), train, upload.
 *
 * Idea: everything hangs on the last TASK. A TASK that came again after a lost connection finds the download, the
 * training or the result of before and goes on with it; a new one cancels what it replaces.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "federated/client_parts.h"

enum { OUTPUT_MAX = 128 * 1024 };

static bool same_work(const lmb_task_message *a, const lmb_task_message *b)
{
    return a->round == b->round && lmbi_same_blob(&a->model, &b->model) && lmbi_same_blob(&a->settings, &b->settings) &&
           lmbi_same_blob(&a->graph, &b->graph) && lmbi_same_blob(&a->session, &b->session) &&
           strcmp(a->codec, b->codec) == 0 && a->seed == b->seed && a->clip == b->clip;
}

/* ---- training, on its own thread ---- */

void lmb_client_progress(const lmb_train_task *task, uint64_t steps)
{
    if (task->client)
        atomic_store(&task->client->steps, steps);
}

bool lmb_client_cancelled(const lmb_train_task *task) { return task->client && atomic_load(&task->client->cancelled); }

static lmb_status check_result(const lmb_train_result *r, size_t n, lmb_error *err)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(r->delta[i]))
            return LMB_FAIL(err, LMB_E_NUMERIC,
                            "local training diverged: value %zu of the change is not finite; lower the learning rate",
                            i);
    if (!r->examples)
        return LMB_FAIL(err, LMB_E_ARG, "local training saw no example");
    return LMB_OK;
}

static void *train_thread(void *arg)
{
    lmb_client *c = arg;
    lmb_error *err = &c->result_error;

    lmbi_manners_worker(c);
    memset(&c->spec, 0, sizeof c->spec);
    c->result_status = c->work.session.bytes ? LMB_OK : lmb_codec_parse(c->work.codec, &c->spec, err);
    if (c->result_status == LMB_OK)
        c->result_status = c->trainer.train(c->trainer.ctx, &c->train_task, &c->result, err);
    if (c->result_status == LMB_OK)
        c->result_status = check_result(&c->result, c->train_task.n, err);
    if (c->result_status == LMB_OK && !atomic_load(&c->cancelled))
        c->result_status = c->work.session.bytes ? lmbi_session_encode(c, err) : lmbi_update_make(c, err);
    atomic_store(&c->trained, true);
    if (write(c->wake[1], "t", 1) < 0) {
        /* the pipe is full: the other side is awake */
    }
    return NULL;
}

static void drop_result(lmb_client *c)
{
    free(c->result.delta);
    free(c->payload);
    c->payload = NULL;
    memset(&c->result, 0, sizeof c->result);
    c->has_result = c->offered = c->uploading = false;
}

/* Other work: a result that was never announced, because the connection was lost, is one that never was sent. */
static void take_up_task(lmb_client *c)
{
    if (c->has_result && !c->offered)
        lmbi_update_unsent(c, c->work.round);
    drop_result(c);
    c->work = c->task;
}

static lmb_status start_training(lmb_client *c, lmb_error *err)
{
    take_up_task(c);
    c->result.delta = calloc((size_t)c->work.n, sizeof(float));
    if (!c->result.delta)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the change of %" PRIu64 " values", c->work.n);
    c->train_task = (lmb_train_task){ .round = c->work.round,
                                      .n = (size_t)c->work.n,
                                      .layout = c->work.layout,
                                      .graph = c->work.graph.bytes ? c->in[DOWNLOAD_GRAPH].data : NULL,
                                      .graph_bytes = (size_t)c->work.graph.bytes,
                                      .settings = (const char *)c->in[DOWNLOAD_SETTINGS].data,
                                      .threads = (int)c->cfg.threads,
                                      .client = c };
    LMB_TRY(lmbi_model_open(c, &c->train_task.model, err));
    c->result_error = (lmb_error)LMB_ERROR_INIT;
    atomic_store(&c->trained, false);
    atomic_store(&c->steps, 0);
    if (!atomic_load(&c->stop))
        atomic_store(&c->cancelled, false);
    if (pthread_create(&c->thread, NULL, train_thread, c) != 0)
        return LMB_FAIL(err, LMB_E_NOMEM, "cannot start a thread to train on");
    c->training = true;
    lmb_log_at(c->log, LMB_LOG_INFO, "federated", "round %" PRIu64 ": training", c->work.round);
    return LMB_OK;
}

static void collect_training(lmb_client *c)
{
    if (!c->training || !atomic_load(&c->trained))
        return;
    pthread_join(c->thread, NULL);
    c->training = false;
    if (atomic_load(&c->cancelled)) { /* cut short: the same task may come again, and is then trained anew */
        lmbi_update_unsent(c, c->work.round);
        drop_result(c);
        return;
    }
    c->has_result = true;
    if (c->result_status == LMB_OK && c->work.session.bytes)
        c->result_status = lmbi_session_hide(c, &c->result_error);
    lmb_crash_at(&c->crash, LMB_CRASH_CLIENT_TRAINED);
    if (c->result_status == LMB_OK) {
        c->result_id.bytes = c->payload_bytes;
        c->result_id.hash = lmb_hash_of(c->payload, c->payload_bytes);
    } else {
        lmb_log_at(c->log, LMB_LOG_WARN, "federated", "round %" PRIu64 ": %s", c->work.round, c->result_error.msg);
    }
}

void lmbi_work_failed(lmb_client *c, const lmb_error *e)
{
    take_up_task(c);
    c->result_status = e->status;
    c->result_error = *e;
    c->has_result = c->has_task = true;
}

void lmbi_work_join(lmb_client *c)
{
    if (!c->training)
        return;
    atomic_store(&c->cancelled, true);
    pthread_join(c->thread, NULL);
    c->training = false;
}

void lmbi_work_rest(lmb_client *c)
{
    if (!c->training)
        return;
    lmbi_work_join(c);
    lmbi_update_unsent(c, c->work.round);
    drop_result(c);
}

void lmbi_work_free(lmb_client *c)
{
    drop_result(c);
    lmbi_session_drop(c);
    free(c->model);
    for (int i = 0; i < DOWNLOADS; i++)
        free(c->in[i].data);
}

/* ---- uploading ---- */

static lmb_status offer(lmb_client *c, lmb_error *err)
{
    lmb_update_message u = { .round = c->work.round,
                             .layout = c->work.layout,
                             .model = c->work.model.hash,
                             .n = c->work.n,
                             .examples = c->result.examples,
                             .within = c->within,
                             .blob = c->result_id,
                             .metrics = c->result.metrics };
    lmb_round_note note = { .round = c->work.round };
    snprintf(u.codec, sizeof u.codec, "%s", c->work.codec);
    c->uploading = false;
    c->sent = 0;
    c->has_task = false; /* until the server answers */
    c->offered = true;
    if (c->work.session.bytes) { /* the sum is to hide these */
        u.examples = 1;
        u.metrics.n = 0;
    }
    if (c->result_status == LMB_OK && c->work.session.bytes)
        LMB_TRY(lmbi_session_offer(c, err));
    if (c->result_status == LMB_OK)
        return lmb_message_send(c->channel, LMB_MSG_UPDATE, &u, err);
    snprintf(note.sentence, sizeof note.sentence, "%.380s", c->result_error.msg);
    return lmb_message_send(c->channel, LMB_MSG_FAILED, &note, err);
}

static lmb_status take_have(lmb_client *c, const lmb_record *r, lmb_error *err)
{
    lmb_want have;
    LMB_TRY(lmb_message_read(r, &have, err));
    if (!c->has_result || !lmbi_same_blob(&have.blob, &c->result_id))
        return LMB_OK;
    if (have.offset > c->result_id.bytes)
        return LMB_FAIL(err, LMB_E_FORMAT, "the server wants to go on at byte %" PRIu64 " of %" PRIu64, have.offset,
                        c->result_id.bytes);
    c->sent = have.offset;
    c->uploading = true;
    return LMB_OK;
}

static lmb_status pump(lmb_client *c, lmb_error *err)
{
    size_t waiting;
    while (c->uploading && (lmb_channel_output(c->channel, &waiting), waiting < OUTPUT_MAX)) {
        uint64_t left = c->result_id.bytes - c->sent;
        lmb_record r = { LMB_MSG_CHUNK, 0, c->sent, c->payload + c->sent,
                         left < LMB_CHUNK ? (size_t)left : LMB_CHUNK };
        if (r.bytes)
            LMB_TRY(lmb_channel_send(c->channel, &r, err));
        c->sent += r.bytes;
        c->uploading = c->sent < c->result_id.bytes;
    }
    return LMB_OK;
}

/* ---- messages ---- */

static lmb_status take_task(lmb_client *c, const lmb_record *r, lmb_error *err)
{
    lmb_task_message t;
    LMB_TRY(lmb_message_read(r, &t, err));
    LMB_TRY(lmbi_fetch_check(c, &t, err));
    c->task = t;
    c->has_task = true;
    c->fetching = -1;
    c->uploading = c->secure.announced = false;
    lmb_crash_at(&c->crash, LMB_CRASH_CLIENT_TASK);
    if (c->training && !same_work(&c->work, &t))
        atomic_store(&c->cancelled, true);
    return LMB_OK;
}

/* The result of a task that is void is wanted by nobody. */
static void end_work(lmb_client *c, uint64_t round, bool unsent)
{
    if (round != c->task.round)
        return;
    c->has_task = c->uploading = false;
    c->fetching = -1;
    if (unsent && !c->training && c->has_result)
        lmbi_update_unsent(c, round);
    if (unsent)
        lmbi_session_drop(c);
    if (c->training)
        atomic_store(&c->cancelled, true);
    else
        drop_result(c);
}

/* Nothing to do: the task is void, or there was none. */
static lmb_status take_later(lmb_client *c, const lmb_record *r, lmb_error *err)
{
    lmb_later l;

    LMB_TRY(lmb_message_read(r, &l, err));
    if (!(l.seconds >= 0 && l.seconds <= LMB_LATER_MOST))
        return LMB_FAIL(err, LMB_E_FORMAT, "the server says to come back in %g s; it must be 0 to %g", l.seconds,
                        LMB_LATER_MOST);
    if (l.seconds > 0)
        lmb_log_at(c->log, LMB_LOG_INFO, "federated", "%s; back in about %.3g s", l.sentence, l.seconds);
    else
        lmb_log_at(c->log, LMB_LOG_INFO, "federated", "round %" PRIu64 ": %s", l.round, l.sentence);
    if (l.round)
        end_work(c, l.round, true);
    c->later = l.seconds;
    return LMB_OK;
}

/* The round needs nothing more from this client. */
static void take_verdict(lmb_client *c, unsigned type, const lmb_round_note *note)
{
    if (!note->round) { /* of no round: it is to wait */
        lmb_log_at(c->log, LMB_LOG_INFO, "federated", "%s", note->sentence);
        return;
    }
    if (type == LMB_MSG_ACCEPTED)
        lmb_log_at(c->log, LMB_LOG_INFO, "federated", "round %" PRIu64 ": update accepted", note->round);
    else
        lmb_log_at(c->log, LMB_LOG_WARN, "federated", "round %" PRIu64 ": the server goes on without this client: %s",
                   note->round, note->sentence);
    end_work(c, note->round, type == LMB_MSG_REFUSED);
}

lmb_status lmbi_work_message(lmb_client *c, const lmb_record *r, lmb_error *err)
{
    lmb_round_note note = { 0 };
    bool mine;

    if (r->type == LMB_MSG_ACCEPTED || r->type == LMB_MSG_REFUSED || r->type == LMB_MSG_DONE)
        LMB_TRY(lmb_message_read(r, &note, err));
    if (r->type == LMB_MSG_REFUSED && note.status)
        return LMB_FAIL(err, LMB_E_DENIED, "the server refuses this client: %s", note.sentence);
    c->heard = true;
    c->rejected = 0;
    if (!c->enrolled)
        LMB_TRY(lmbi_client_remember(c, err));
    LMB_TRY(lmbi_trust_message(c, r, &mine, err));
    if (mine)
        return LMB_OK;
    switch (r->type) {
    case LMB_MSG_ALIVE: return LMB_OK; /* that it was heard is all */
    case LMB_MSG_TASK: return take_task(c, r, err);
    case LMB_MSG_CHUNK: return lmbi_fetch_chunk(c, r, err);
    case LMB_MSG_HAVE: return take_have(c, r, err);
    case LMB_MSG_SECAGG: return lmbi_session_message(c, r, err);
    case LMB_MSG_ACCEPTED: lmb_crash_at(&c->crash, LMB_CRASH_CLIENT_ACCEPTED); /* fall through */
    case LMB_MSG_REFUSED: take_verdict(c, r->type, &note); return LMB_OK;
    case LMB_MSG_LATER: return take_later(c, r, err);
    case LMB_MSG_DONE:
        lmb_log_at(c->log, LMB_LOG_INFO, "federated", "the federation has ended after %" PRIu64 " rounds: %s",
                   note.round, note.sentence);
        c->finished = true;
        return LMB_OK;
    default: return LMB_FAIL(err, LMB_E_FORMAT, "message type %u is not one a server sends", r->type);
    }
}

lmb_status lmbi_work_step(lmb_client *c, lmb_error *err)
{
    bool all;
    collect_training(c);
    if (!c->channel || !lmb_channel_ready(c->channel) || c->training || c->fetching >= 0)
        return c->uploading ? pump(c, err) : LMB_OK;
    if (c->has_task && c->has_result && same_work(&c->work, &c->task))
        return offer(c, err);
    if (c->has_task && !c->uploading && lmbi_trust_ready(c)) {
        LMB_TRY(lmbi_fetch_next(c, &all, err));
        if (all)
            LMB_TRY(lmbi_session_step(c, &all, err));
        if (c->has_task && c->has_result && same_work(&c->work, &c->task)) /* it failed at once */
            return offer(c, err);
        if (all && !lmbi_manners_go(c, true)) {
            c->resting = true; /* the task comes again when we do */
            return LMB_OK;
        }
        return all ? start_training(c, err) : LMB_OK;
    }
    return pump(c, err);
}
