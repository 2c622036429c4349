/* launch/doctor_try.c - whether GPUs do what they are told: one of our kernels on each, which of our code it was, how
 * much memory is free, and how fast the first one copies. See doctor.h.
 *
 * Idea: a step needs machine code for the GPU, arithmetic that is right, and bytes that come in time. Each is tried
 * once, by the calls that a training uses; what a training would fail at is said here first.
 *
 *   source   CUDA C++ Programming Guide, chapter Compute Capabilities (code runs on the same major capability with the
 *            same or a higher minor one; PTX is compiled by the driver for any later chip)
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/threads.h"
#include "launch/doctor.h"

enum { NUMBERS = 1 << 20, RUNS = 4 };

typedef struct trial {
    const lmb_cuda_api *api;
    lmb_cuda_stream *stream;
    void *a, *b; /* on the device */
    float *host; /* [NUMBERS] */
    double start_s; /* of the first kernel, with loading or compiling its code */
    size_t wrong;   /* of NUMBERS */
    lmb_cuda_device about;
    lmb_cuda_state state;
} trial;

static float number(size_t i) { return (float)((int)(i % 2003) - 1001); }

static lmb_status wait(const trial *t, lmb_error *err) { return t->api->stream_sync(t->stream, err); }

/* The result is spoilt first: a kernel that does not run leaves no old truth behind. */
static lmb_status try_kernel(trial *t, lmb_error *err)
{
    const size_t bytes = NUMBERS * sizeof *t->host;

    for (size_t i = 0; i < NUMBERS; i++)
        t->host[i] = number(i);
    LMB_TRY(t->api->alloc(bytes, &t->a, err));
    LMB_TRY(t->api->alloc(bytes, &t->b, err));
    LMB_TRY(t->api->upload(t->a, t->host, bytes, t->stream, err));
    LMB_TRY(t->api->upload(t->b, t->host, bytes, t->stream, err));
    LMB_TRY(wait(t, err));
    t->start_s = -lmb_seconds();
    LMB_TRY(t->api->relu(t->a, t->b, NUMBERS, t->stream, err));
    LMB_TRY(wait(t, err));
    t->start_s += lmb_seconds();
    LMB_TRY(t->api->download(t->host, t->b, bytes, t->stream, err));
    LMB_TRY(wait(t, err));
    for (size_t i = 0; i < NUMBERS; i++)
        t->wrong += t->host[i] != fmaxf(number(i), 0);
    return LMB_OK;
}

/* Seconds of one copy, the best of a few: the first also touches pages and wakes the link. */
static lmb_status time_copy(const trial *t, void *to, const void *from, size_t bytes,
                            lmb_status (*copy)(void *, const void *, size_t, lmb_cuda_stream *, lmb_error *),
                            double *best, lmb_error *err)
{
    *best = INFINITY;
    for (int i = 0; i <= RUNS; i++) {
        double s = -lmb_seconds();
        LMB_TRY(copy(to, from, bytes, t->stream, err));
        LMB_TRY(wait(t, err));
        s += lmb_seconds();
        *best = i > 0 && s < *best ? s : *best;
    }
    return LMB_OK;
}

typedef struct room {
    void *a, *b, *pinned, *pageable;
} room;

static lmb_status time_copies(const trial *t, const room *r, size_t bytes, lmb_finding *f, lmb_error *err)
{
    double in, in_slow, out, out_slow, on;

    memset(r->pinned, 1, bytes);
    memset(r->pageable, 1, bytes);
    LMB_TRY(time_copy(t, r->a, r->pinned, bytes, t->api->upload, &in, err));
    LMB_TRY(time_copy(t, r->a, r->pageable, bytes, t->api->upload, &in_slow, err));
    LMB_TRY(time_copy(t, r->pinned, r->a, bytes, t->api->download, &out, err));
    LMB_TRY(time_copy(t, r->pageable, r->a, bytes, t->api->download, &out_slow, err));
    LMB_TRY(time_copy(t, r->b, r->a, bytes, t->api->copy, &on, err));
    const double gb = (double)bytes / 1e9;
    snprintf(f->found, sizeof f->found,
             "to the GPU %.1f GB/s from pinned and %.1f from pageable memory, back %.1f and %.1f; on the GPU "
             "%.0f GB/s, read and written", gb / in, gb / in_slow, gb / out, gb / out_slow, 2 * gb / on);
    return LMB_OK;
}

static void try_copies(const trial *t, size_t bytes, lmb_findings *all)
{
    lmb_finding *f = lmb_finding_add(all, "GPU copies", LMB_FINE);
    lmb_error e = LMB_ERROR_INIT;
    room r = { .pageable = malloc(bytes) };
    lmb_status st = r.pageable ? t->api->alloc(bytes, &r.a, &e) : LMB_FAIL(&e, LMB_E_NOMEM, "no memory to copy");

    if (st == LMB_OK)
        st = t->api->alloc(bytes, &r.b, &e);
    if (st == LMB_OK)
        st = t->api->host_alloc(bytes, &r.pinned, &e);
    if (st == LMB_OK)
        st = time_copies(t, &r, bytes, f, &e);
    snprintf(f->use, sizeof f->use, "batches go through pinned memory, two deep");
    if (st != LMB_OK) { /* a training needs less than this */
        *f = (lmb_finding){ .topic = f->topic, .health = LMB_LIMITS };
        snprintf(f->found, sizeof f->found, "not measured with %zu MiB: %.240s", bytes >> 20, e.msg);
    }
    t->api->host_free(r.pinned);
    t->api->free(r.b);
    t->api->free(r.a);
    free(r.pageable);
}

static void append(char *text, size_t size, const char *more)
{
    size_t n = strlen(text);
    if (n + 40 < size) /* of many GPUs the first few */
        snprintf(text + n, size - n, "%s%s", n ? "; " : "", more);
}

static void say_code(const trial *t, int device, lmb_finding *f)
{
    char text[160];
    const bool compiled = t->state.code > t->state.ptx;

    snprintf(text, sizeof text, "GPU %d runs %s%d", device, compiled ? "compute_" : "sm_",
             compiled ? t->state.ptx : t->state.code);
    append(f->found, sizeof f->found, text);
    if (compiled)
        snprintf(f->advice, sizeof f->advice,
                 "the driver compiled PTX for sm_%d%d, which took the first kernel %.1f s and is kept in ~/.nv; "
                 "-DCMAKE_CUDA_ARCHITECTURES=%d%d builds for this GPU",
                 t->about.major, t->about.minor, t->start_s, t->about.major, t->about.minor);
}

static void say_kernel(const trial *t, int device, lmb_finding *f)
{
    char text[160];

    snprintf(text, sizeof text, "GPU %d in %.2f ms", device, t->start_s * 1e3);
    if (t->wrong > 0 && f->health != LMB_WRONG) {
        f->health = LMB_WRONG;
        snprintf(f->advice, sizeof f->advice,
                 "GPU %d computes wrong: %zu of %d numbers; leave it out (CUDA_VISIBLE_DEVICES), look at nvidia-smi -q "
                 "-d ECC, and have it reset or repaired",
                 device, t->wrong, NUMBERS);
    }
    append(f->found, sizeof f->found, text);
}

static void say_memory(const trial *t, int device, lmb_finding *f)
{
    const double gib = 1073741824.0, free_gib = (double)t->state.free / gib, has = (double)t->about.memory / gib;
    char text[160];

    snprintf(text, sizeof text, "GPU %d: %.1f of %.1f GiB free", device, free_gib, has);
    append(f->found, sizeof f->found, text);
    if (t->state.free < t->about.memory / 10 * 9 && f->health == LMB_FINE) {
        f->health = LMB_LIMITS;
        snprintf(f->advice, sizeof f->advice,
                 "%.1f GiB of GPU %d are in use by others; `nvidia-smi` shows by whom, and what they compute costs you "
                 "time",
                 has - free_gib, device);
    }
}

typedef struct rows {
    lmb_finding *code, *kernel, *memory, *modes;
} rows;

static void try_device(const lmb_cuda_api *api, int device, size_t bytes, const rows *r, lmb_findings *all)
{
    trial t = { .api = api, .host = malloc(NUMBERS * sizeof(float)) };
    lmb_error e = LMB_ERROR_INIT;
    lmb_status st = t.host ? api->device_select(device, &e) : LMB_FAIL(&e, LMB_E_NOMEM, "no memory to try it with");

    if (st == LMB_OK)
        st = api->device_info(device, &t.about, &e);
    if (st == LMB_OK)
        st = api->stream_create(&t.stream, &e);
    if (st == LMB_OK)
        st = try_kernel(&t, &e);
    api->free(t.b);
    api->free(t.a);
    if (st == LMB_OK)
        st = api->device_state(&t.state, &e);
    if (st == LMB_OK) {
        say_code(&t, device, r->code);
        say_kernel(&t, device, r->kernel);
        say_memory(&t, device, r->memory);
        lmb_doctor_modes(t.state.where, device, r->modes);
        bytes = bytes < t.state.free / 8 ? bytes : t.state.free / 8;
        if (bytes > 0)
            try_copies(&t, bytes, all);
    } else {
        char text[32];
        snprintf(text, sizeof text, "GPU %d fails", device);
        append(r->kernel->found, sizeof r->kernel->found, text);
        r->kernel->health = LMB_WRONG;
        snprintf(r->kernel->advice, sizeof r->kernel->advice, "GPU %d: %.290s", device, e.msg);
    }
    api->stream_destroy(t.stream);
    free(t.host);
}

void lmb_doctor_try(const lmb_cuda_api *api, int first, int n, size_t bytes, lmb_findings *all)
{
    const rows r = { lmb_finding_add(all, "GPU code", LMB_FINE), lmb_finding_add(all, "GPU kernel", LMB_FINE),
                     lmb_finding_add(all, "GPU memory", LMB_FINE), lmb_finding_add(all, "GPU modes", LMB_FINE) };

    snprintf(r.code->use, sizeof r.code->use, "of what the module has: %.120s (compute_N: PTX, which a driver compiles)",
             api->code);
    for (int i = 0; i < n; i++)
        try_device(api, first + i, i == 0 ? bytes : 0, &r, all);
}
