/* launch/cmd_monitor.c - `limbeck monitor`: do devices still see what their model was made for, and what is worth a
 * label? */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/str.h"
#include "distill/monitor/drift.h"
#include "distill/quantize/packed_file.h"
#include "distill/search/budget.h"
#include "launch/monitor.h"

enum { MOST = 1 << 28 };

static const char usage[] =
    "usage: limbeck monitor CONFIG.yaml --reference MODEL.lmb --out MODEL.lmb|FILE.mon\n"
    "                       [--part validation|test|train] [--samples 1000]\n"
    "       limbeck monitor DEVICE.mon ... --against MODEL.lmb|FILE.mon [--psi 0.2] [--latency-max \"50 us\"]\n"
    "                       [--label LIST.csv] [--strange 3]\n\n"
    "First: counts what a model sees and says on samples of the configuration; with --out FILE.lmb the counters\n"
    "become a part of the model (sign it afterwards). If no part is named, the validation part is taken, or where\n"
    "there is none, or compress.held_out is test, the test part: a model is surer of samples that it has learnt than\n"
    "of any that devices meet.\n"
    "Devices count with the same functions (core/edge/monitor.h) and leave files.\n"
    "Then: compares each device's file with the reference, histogram by histogram of its inputs, of its certainty and "
    "of\n"
    "its answers, by the population stability index. Exit code 4: one has drifted, or is slower than it may be; 5:\n"
    "one could not be compared (no monitor file, damaged, of another model), which is said; the others are.\n\n"
    "  --psi X            the limit; where there are few predictions, what chance exceeds once in 1,000 if that is "
    "more\n"
    "  --latency-max T    99 of 100 predictions must keep it; beyond it is also who has measured none\n"
    "  --label FILE       samples worth a label, as CSV: the least certain, and those `--strange` deviations or more "
    "from\n"
    "                     the reference; `number` is what the device called the sample. See `limbeck train --help`\n";

typedef struct reader {
    void *file, *memory;
    lmb_monitor *k;
} reader;

/* A monitor file, or the reference inside a model. */
static lmb_status open_counters(const char *path, reader *r, lmb_error *err)
{
    char why[200] = "";
    lmb_edge_model m;
    size_t n;

    memset(r, 0, sizeof *r);
    LMB_TRY(lmb_file_read(path, MOST, &r->file, &n, err));
    r->memory = malloc(LMB_MONITOR_MOST);
    if (!r->memory)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to read counters");
    const void *counters = r->file;
    bool inside = false;
    if (n >= 4 && memcmp(r->file, "\x89LMB", 4) == 0) {
        void *plain;
        if (lmb_packed_open(r->file, n, &plain, &n, err) != LMB_OK)
            return lmb_error_context(err, "%s", path);
        if (plain) {
            free(r->file);
            r->file = plain;
        }
        if (lmb_edge_open(r->file, n, &m, why, sizeof why) != LMB_EDGE_OK)
            return LMB_FAIL(err, LMB_E_FORMAT, "%s: %s", path, why);
        if (!m.monitor)
            return LMB_FAIL(err, LMB_E_ARG,
                            "%s has no reference; `limbeck monitor CONFIG.yaml --reference %s --out %s` adds one", path,
                            path, path);
        counters = m.monitor;
        n = m.monitor_bytes;
        inside = true;
    }
    r->k = lmb_monitor_read(counters, n, r->memory, why, sizeof why);
    if (!r->k)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s: %s", path, why);
    lmb_monitor_shape *of = &r->k->shape;
    if (inside && of->model && of->model != lmb_monitor_model(&m))
        return LMB_FAIL(
            err, LMB_E_ARG,
            "%s: the reference in it was counted with another model (%08x); make the .lmb anew with `limbeck "
            "export` and its reference with `limbeck monitor CONFIG.yaml --reference`",
            path, of->model);
    if (inside) { /* the reference is older than the release: it is signed with the rest */
        of->model = lmb_monitor_model(&m);
        of->release = m.release;
    }
    return LMB_OK;
}

static void close_counters(reader *r)
{
    free(r->file);
    free(r->memory);
}

static void print_row(const lmb_drift_row *r)
{
    const char *verdict = r->beyond ? "  <- beyond" : "";
    bool timed = r->kind == LMB_DRIFT_LATENCY && r->value > 0;

    if (r->kind == LMB_DRIFT_INPUT)
        printf("  inputs, channel %-2d PSI %7.4f, limit %.4f; mean %.1f, was %.1f%s\n", r->channel, r->value, r->limit,
               r->after, r->before, verdict);
    else if (r->kind != LMB_DRIFT_LATENCY)
        printf("  %-18s PSI %7.4f, limit %.4f%s\n", r->kind == LMB_DRIFT_MARGINS ? "certainty" : "answers", r->value,
               r->limit, verdict);
    else if (!timed)
        printf("  latency            not measured: the device passes 0 ns to lmb_monitor_add%s\n", verdict);
    else if (r->limit > 0)
        printf("  latency            p50 at most %.1f us, p99 %.1f to %.1f us, limit %.1f us%s\n", r->after, r->least,
               r->value, r->limit,
               r->beyond             ? verdict
               : r->value > r->limit ? ", which may be kept"
                                     : "");
    else
        printf("  latency            p50 at most %.1f us, p99 %.1f to %.1f us\n", r->after, r->least, r->value);
}

/* A name with a comma or quotes in a field of CSV (RFC 4180). */
static void add_quoted(lmb_str *s, const char *text)
{
    lmb_str_add(s, "\"");
    for (; *text; text++)
        lmb_str_addf(s, *text == '"' ? "\"\"" : "%c", *text);
    lmb_str_add(s, "\"");
}

static void add_samples(lmb_str *s, const char *path, const lmb_monitor *k, double strange)
{
    for (uint32_t i = 0; i < k->n_strange + k->n_unsure; i++) {
        bool far = i < k->n_strange, twice = false;
        const lmb_monitor_sample *x = far ? &k->strange[i] : &k->unsure[i - k->n_strange];
        if (far && x->score < strange)
            continue;
        for (uint32_t j = 0; !far && j < k->n_strange; j++)
            twice |= k->strange[j].number == x->number && k->strange[j].score >= strange;
        if (twice)
            continue;
        lmb_str_addf(s, "%llu,%s,%.6g,%u,", (unsigned long long)x->number, far ? "strange" : "unsure", (double)x->score,
                     x->answer);
        add_quoted(s, path);
        lmb_str_add(s, "\n");
    }
}

typedef struct request {
    lmb_drift_limits limits;
    double strange;
    lmb_str label;
    int drifted, left_out;
} request;

/* What was counted, and what of it is not what the reference is of. */
static void print_model(const lmb_monitor_shape *device, const lmb_monitor_shape *reference)
{
    if (!device->model)
        printf("  model              not told: a file of an older version, or counted without lmb_monitor_shape_of\n");
    else
        printf("  model              %08x, release %llu%s\n", device->model, (unsigned long long)device->release,
               !reference->model                       ? "; the reference does not say what it is of"
               : device->release != reference->release ? "; the reference is the same model in another release"
                                                       : "");
}

/* Devices that say what they counted have to say the same: where the reference says nothing, what the first says. */
static lmb_status one_device(const char *path, lmb_monitor *reference, request *q, lmb_error *err)
{
    reader device;
    lmb_drift d;
    lmb_status st = open_counters(path, &device, err);

    if (st == LMB_OK && device.k->predictions < LMB_DRIFT_LEAST) { /* no reason to be silent about the others */
        printf("%s: %llu predictions, too few to say; from %d on they are compared\n", path,
               (unsigned long long)device.k->predictions, LMB_DRIFT_LEAST);
        close_counters(&device);
        return LMB_OK;
    }
    if (st == LMB_OK) {
        st = lmb_drift_compare(reference, device.k, &q->limits, &d, err);
        if (st != LMB_OK)
            st = lmb_error_context(err, "%s", path);
    }
    if (st == LMB_OK) {
        printf("%s: %llu predictions, %s\n", path, (unsigned long long)device.k->predictions,
               d.beyond ? "drifted" : "as it should be");
        print_model(&device.k->shape, &reference->shape);
        if (!reference->shape.model)
            reference->shape = device.k->shape;
        for (int i = 0; i < d.n; i++)
            print_row(&d.row[i]);
        add_samples(&q->label, path, device.k, q->strange);
        q->drifted += d.beyond;
    }
    close_counters(&device);
    return st;
}

static lmb_status compare(const lmb_args *a, request *q, lmb_error *err)
{
    const char *label = lmb_args_get(a, "label", NULL);
    reader reference;
    lmb_status st = open_counters(lmb_args_get(a, "against", ""), &reference, err);

    lmb_str_add(&q->label, "number,why,score,answer,file\n");
    for (int i = 0; i < a->n_words && st == LMB_OK; i++) { /* a file that is no good says nothing of the others */
        lmb_error own = LMB_ERROR_INIT;
        if (one_device(a->word[i], reference.k, q, &own) == LMB_OK)
            continue;
        printf("not compared: %s\n", own.msg);
        q->left_out++;
    }
    close_counters(&reference);
    if (st == LMB_OK)
        st = lmb_str_check(&q->label, err);
    if (st == LMB_OK && label)
        st = lmb_file_write(label, q->label.text, q->label.n, err);
    if (st == LMB_OK && q->left_out)
        st = LMB_FAIL(err, LMB_E_PART,
                      "%d of %d files could not be compared, as said above; of the others %d %s "
                      "beyond their limits%s%s",
                      q->left_out, a->n_words, q->drifted, q->drifted == 1 ? "is" : "are",
                      label ? "; label what is in " : "", label ? label : "");
    if (st == LMB_OK && q->drifted)
        st = LMB_FAIL(err, LMB_E_UNMET, "%d of %d devices beyond their limits%s%s", q->drifted, a->n_words,
                      label ? "; label what is in " : "; --label FILE lists what is worth a label", label ? label : "");
    return st;
}

static lmb_status run(int argc, char **argv, lmb_error *err)
{
    static const char *const known[] = { "reference", "part",        "samples", "out",     "against",
                                         "psi",       "latency-max", "label",   "strange", NULL };
    request q = { .label = LMB_STR_INIT };
    const char *latency;
    lmb_args a;

    LMB_TRY(lmb_args_parse(argc, argv, known, &a, err));
    bool makes = lmb_args_get(&a, "reference", NULL) != NULL;
    if (makes == (lmb_args_get(&a, "against", NULL) != NULL) || a.n_words < 1 || (makes && a.n_words > 1))
        return LMB_FAIL(err, LMB_E_ARG,
                        "give a configuration and --reference, or monitor files and --against; --help explains");
    if (makes)
        return lmbi_monitor_reference(&a, err);
    LMB_TRY(lmb_args_real(&a, "psi", 0.2, 0, 100, &q.limits.psi, err));
    LMB_TRY(lmb_args_real(&a, "strange", 3, 0, 1e9, &q.strange, err));
    latency = lmb_args_get(&a, "latency-max", NULL);
    if (latency)
        LMB_TRY(lmb_budget_number(latency, "--latency-max", "us", &q.limits.latency_us, err));
    if (latency && !(q.limits.latency_us > 0))
        return LMB_FAIL(err, LMB_E_ARG,
                        "--latency-max \"%s\": no prediction is done in no time; give more than 0 or "
                        "leave it out",
                        latency);
    lmb_status st = compare(&a, &q, err);
    lmb_str_free(&q.label);
    return st;
}

const lmb_cmd lmb_cmd_monitor = { "monitor", "whether devices still see what their model was made for", usage, run };
