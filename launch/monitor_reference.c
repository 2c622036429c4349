/* launch/monitor_reference.c - `limbeck monitor CONFIG --reference MODEL.lmb`: what the model sees and says on samples
 * that it was made for, counted by the functions that count on devices. By default samples that it has not learnt: it
 * is surer of what it has than of any that a device will meet. Whoever says that they are not learnt may be wrong, so
 * the test part, which is like what devices will meet, is compared with them as a device will be. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/threads.h"
#include "core/edge/packed.h"
#include "datasets/split.h"
#include "distill/monitor/drift.h"
#include "distill/quantize/laid_file.h"
#include "distill/quantize/lower.h"
#include "distill/quantize/packed_file.h"
#include "launch/job.h"
#include "launch/monitor.h"
#include "launch/signature.h"

enum { SEED = 1 }; /* which samples: the same each time */

typedef struct counting {
    const lmb_edge_model *model;
    const lmb_dataset *data;
    const uint32_t *order; /* of the samples: folders come class by class */
    int64_t n;
    void *prepared, *arena, *output;
    uint8_t *input;
    lmb_monitor *monitor;
} counting;

static lmb_status count_all(counting *c, lmb_error *err)
{
    for (int64_t i = 0; i < c->n; i++) {
        int32_t label;
        LMB_TRY(c->data->read(c->data, c->order[i], c->input, &label, err));
        double from = lmb_seconds();
        if (lmb_edge_run(c->model, c->arena, c->input, c->output) != LMB_EDGE_OK)
            return LMB_FAIL(err, LMB_E_FORMAT, "the model refuses to run");
        lmb_monitor_add(c->monitor, c->order[i], c->input, c->output, (uint64_t)(1e9 * (lmb_seconds() - from)));
    }
    return LMB_OK;
}

/* A model that has a reference already notes what is strange to it: so samples of another kind can be tried. */
static lmb_status count(lmb_edge_model *m, const lmb_dataset *data, int64_t n, lmb_edge_buffer *out, lmb_error *err)
{
    lmb_edge_tensor x, y;
    lmb_monitor_shape shape;

    lmb_edge_tensor_at(m, 0, &x);
    lmb_edge_tensor_at(m, m->n_ops, &y);
    if (data->dtype != LMB_U8 || lmb_shape_bytes(&data->shape, LMB_U8) != x.bytes)
        return LMB_FAIL(err, LMB_E_SHAPE,
                        "the model takes %u bytes (%u x %u x %u); samples of this data set are others", x.bytes, x.c,
                        x.h, x.w);
    LMB_TRY(lmb_deploy_bounded(m, err));
    lmb_monitor_shape_of(m, &shape);
    counting c = { .model = m,
                   .data = data,
                   .n = n < data->n ? n : data->n,
                   .prepared = malloc(lmb_edge_prepare_bytes(m)),
                   .arena = malloc(lmb_edge_arena_bytes(m)),
                   .output = malloc(y.bytes),
                   .input = malloc(x.bytes) };
    void *memory = malloc(lmb_monitor_bytes(&shape));
    uint32_t *order = malloc(sizeof *order * (size_t)data->n);
    out->data = malloc(LMB_MONITOR_MOST);
    lmb_status st = LMB_OK;
    if (!c.prepared || !c.arena || !c.output || !c.input || !memory || !order || !out->data)
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory to run the model");
    if (st == LMB_OK) {
        lmb_split(SEED, (uint32_t)data->n, order);
        c.order = order;
        lmb_edge_prepare(m, c.prepared);
        c.monitor = lmb_monitor_init(memory, &shape);
        if (m->monitor && lmb_monitor_expect(c.monitor, m->monitor, m->monitor_bytes) != LMB_EDGE_OK)
            st = LMB_FAIL(err, LMB_E_FORMAT, "the reference in the model is not one of it");
    }
    if (st == LMB_OK)
        st = count_all(&c, err);
    if (st == LMB_OK)
        out->size = lmb_monitor_write(c.monitor, out->data);
    free(c.prepared);
    free(c.arena);
    free(c.output);
    free(c.input);
    free(order);
    free(memory);
    return st;
}

static const lmb_dataset *part_of(const lmb_job *j, const char *name)
{
    return !strcmp(name, "train")        ? j->train
           : !strcmp(name, "validation") ? j->validation
           : !strcmp(name, "test")       ? j->test
                                         : NULL;
}

/* The part that is counted if nobody says which. With compress.held_out the validation part may have been learnt. */
static const char *part_by_default(const lmb_job *j)
{
    static const char *const held_out[] = { "validation", "test" };
    const char *said = "";

    if (lmb_tree_has(j->c.compress, "held_out") &&
        lmb_tree_text(lmb_tree_get(j->c.compress, "held_out"), &said, NULL) != LMB_OK)
        said = "";
    for (int i = strcmp(said, "test") == 0; i < 2; i++) {
        const lmb_dataset *data = part_of(j, held_out[i]);
        if (data && data->n >= LMB_DRIFT_LEAST)
            return held_out[i];
    }
    return "train";
}

/* The model whose reference is asked for. */
typedef struct subject {
    void *file; /* plain */
    size_t n;
    bool packed; /* it was not */
} subject;

/* With the reference, and packed again if it was. */
static lmb_edge_status add_counters(const subject *s, const lmb_edge_buffer *counters, lmb_edge_buffer *out, char *why,
                                    size_t cap)
{
    lmb_edge_buffer plain = { NULL, 0, 0 };

    if (!s->packed)
        return lmb_edge_write_reference(s->file, s->n, counters->data, counters->size, out, why, cap);
    lmb_edge_status st = lmb_edge_write_reference(s->file, s->n, counters->data, counters->size, &plain, why, cap);
    if (st == LMB_EDGE_OK)
        st = lmb_edge_pack(plain.data, plain.size, 0, out, why, cap);
    free(plain.data);
    return st;
}

static lmb_status write_out(const char *path, const subject *s, bool was_signed, const lmb_edge_buffer *counters,
                            lmb_error *err)
{
    size_t end = strlen(path);
    lmb_edge_buffer with = { NULL, 0, 0 };
    char why[200] = "";

    if (end < 4 || strcmp(path + end - 4, ".lmb") != 0)
        return lmb_file_write(path, counters->data, counters->size, err);
    lmb_status st = LMB_OK;
    if (add_counters(s, counters, &with, why, sizeof why) != LMB_EDGE_OK)
        st = LMB_FAIL(err, LMB_E_NOMEM, "%s", why);
    if (st == LMB_OK)
        st = lmb_file_write(path, with.data, with.size, err);
    if (st == LMB_OK)
        lmb_signature_gone(was_signed, path);
    free(with.data);
    return st;
}

/* *at: in `memory`, LMB_MONITOR_MOST bytes. */
static lmb_status read_back(const lmb_edge_buffer *counters, void *memory, lmb_monitor **at, lmb_error *err)
{
    char why[200] = "";

    *at = memory ? lmb_monitor_read(counters->data, counters->size, memory, why, sizeof why) : NULL;
    return *at ? LMB_OK : LMB_FAIL(err, LMB_E_NOMEM, "no memory to compare samples with the reference: %s", why);
}

/* A reference that calls ordinary samples drifted is none: said on stderr. */
static lmb_status try_test_part(lmb_edge_model *m, const lmb_dataset *test, int64_t n, const char *name,
                                const lmb_edge_buffer *reference, lmb_error *err)
{
    static const lmb_drift_limits usual = { 0.2, 0 };
    static const char *const what[] = { [LMB_DRIFT_INPUT] = "inputs", [LMB_DRIFT_MARGINS] = "certainty",
                                        [LMB_DRIFT_ANSWERS] = "answers" };
    void *memory[2] = { malloc(LMB_MONITOR_MOST), malloc(LMB_MONITOR_MOST) };
    lmb_edge_buffer counters = { NULL, 0, 0 };
    lmb_monitor *before, *now;
    lmb_drift d = { 0 };

    lmb_status st = read_back(reference, memory[0], &before, err);
    if (st == LMB_OK)
        st = count(m, test, n, &counters, err);
    if (st == LMB_OK)
        st = read_back(&counters, memory[1], &now, err);
    if (st == LMB_OK)
        st = lmb_drift_compare(before, now, &usual, &d, err);
    for (int i = 0; i < d.n; i++)
        if (d.row[i].beyond) {
            fprintf(stderr,
                    "beware: beside this reference the samples of the test part are strange (%s: PSI %.4f, limit %.4f), and "
                    "so will be a device's; if the model has learnt the %s part, --part test makes a better one\n",
                    what[d.row[i].kind], d.row[i].value, d.row[i].limit, name);
            break;
        }
    free(counters.data);
    free(memory[0]);
    free(memory[1]);
    return st;
}

static lmb_status reference(const lmb_job *j, const lmb_args *a, const subject *s, lmb_error *err)
{
    const char *name = lmb_args_get(a, "part", part_by_default(j)), *out = lmb_args_get(a, "out", NULL);
    const lmb_dataset *data = part_of(j, name);
    lmb_edge_buffer counters = { NULL, 0, 0 };
    char why[200] = "";
    lmb_edge_model m;
    int64_t samples;

    LMB_TRY(lmb_args_int(a, "samples", 1000, LMB_DRIFT_LEAST, INT32_MAX, &samples, err));
    if (!data)
        return LMB_FAIL(err, LMB_E_ARG, "--part %s; it must be validation, test or train, and not empty", name);
    if (data->n < LMB_DRIFT_LEAST)
        return LMB_FAIL(err, LMB_E_ARG, "the %s part has %lld samples; a reference needs %d at least", name,
                        (long long)data->n, LMB_DRIFT_LEAST);
    if (!out)
        return LMB_FAIL(err, LMB_E_ARG,
                        "give --out FILE.lmb (the model with its reference) or FILE.mon (the counters alone)");
    size_t end = strlen(out);
    if (end < 4 || (strcmp(out + end - 4, ".lmb") != 0 && strcmp(out + end - 4, ".mon") != 0))
        return LMB_FAIL(
            err, LMB_E_ARG,
            "--out %s; its name must end in .lmb (the model with its reference) or .mon (the counters alone)", out);
    if (lmb_edge_open(s->file, s->n, &m, why, sizeof why) != LMB_EDGE_OK)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: %s", lmb_args_get(a, "reference", ""), why);
    lmb_status st = count(&m, data, samples, &counters, err);
    if (st == LMB_OK && data != j->test && j->test && j->test->n >= LMB_DRIFT_LEAST)
        st = try_test_part(&m, j->test, samples, name, &counters, err);
    if (st == LMB_OK)
        st = write_out(out, s, lmb_signature_is_in(lmb_args_get(a, "reference", "")), &counters, err);
    if (st == LMB_OK)
        printf("%s: %lld samples of the %s part%s\n", out, (long long)(samples < data->n ? samples : data->n), name,
               data == j->train
                   ? "; the model is surer of samples that it has learnt than of a device's: better take others"
                   : "");
    free(counters.data);
    return st;
}

lmb_status lmbi_monitor_reference(const lmb_args *a, lmb_error *err)
{
    subject s;
    lmb_job j;

    LMB_TRY(lmb_packed_read(lmb_args_get(a, "reference", ""), &s.file, &s.n, &s.packed, err));
    lmb_status st = lmb_laid_true(s.file, s.n, lmb_args_get(a, "reference", ""), err);
    if (st == LMB_OK)
        st = lmb_job_open(a->word[0], a, LMB_JOB_DATA_ONLY, &j, err);
    if (st == LMB_OK) {
        st = lmb_job_data(&j, err);
        if (st == LMB_OK)
            st = reference(&j, a, &s, err);
        lmb_job_close(&j);
    }
    free(s.file);
    return st;
}
