/* core/edge/monitor_file.c - the counters of monitor.h as a file, and back. */
#include "core/edge/monitor_file.h"

#include "core/edge/internal.h"

static uint8_t *put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
    return p + 4;
}

static uint8_t *put64(uint8_t *p, uint64_t v) { return put32(put32(p, (uint32_t)v), (uint32_t)(v >> 32)); }

size_t lmb_monitor_file_bytes(const lmb_monitor *k)
{
    return LMBI_MONITOR_HEAD + LMBI_MONITOR_COUNTERS + (size_t)k->channels * LMBI_MONITOR_CHANNEL +
           4 * (size_t)k->classes + ((size_t)k->n_unsure + k->n_strange) * LMBI_MONITOR_SAMPLE;
}

static uint8_t *put_samples(uint8_t *p, const lmb_monitor_sample *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t score;
        memcpy(&score, &s[i].score, sizeof score);
        p = put32(put32(put64(p, s[i].number), score), s[i].answer);
    }
    return p;
}

size_t lmb_monitor_write(const lmb_monitor *k, void *out)
{
    uint8_t *file = (uint8_t *)out, *p = file + 16;
    const uint32_t head[6] = { k->channels, k->classes, k->looked, k->n_unsure, k->n_strange, k->shape.model };
    for (int i = 0; i < 6; i++)
        p = put32(p, head[i]);
    p = put64(put64(p, k->predictions), k->shape.release);
    for (int i = 0; i < LMB_MONITOR_TIMES; i++)
        p = put32(p, k->times[i]);
    for (int i = 0; i < LMB_MONITOR_MARGINS; i++)
        p = put32(p, k->margins[i]);
    for (uint32_t c = 0; c < k->channels; c++) {
        const lmb_monitor_channel *h = &k->channel[c];
        p = put64(put64(put64(p, h->sum), h->squares), h->image_squares);
        for (int i = 0; i < LMB_MONITOR_BINS; i++)
            p = put64(p, h->bins[i]);
    }
    for (uint32_t i = 0; i < k->classes; i++)
        p = put32(p, k->answers[i]);
    p = put_samples(put_samples(p, k->unsure, k->n_unsure), k->strange, k->n_strange);
    memcpy(file, LMBI_MONITOR_MAGIC, 8);
    put32(file + 8, 2);
    put32(file + 12, lmbi_edge_crc32c(0, file + 16, (size_t)(p - file) - 16));
    return (size_t)(p - file);
}

static const uint8_t *get_samples(const uint8_t *p, lmb_monitor_sample *s, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++, p += LMBI_MONITOR_SAMPLE) {
        s[i].number = lmbi_edge_u64(p);
        s[i].score = lmbi_edge_f32(p + 8);
        s[i].answer = lmbi_edge_u32(p + 12);
    }
    return p;
}

static const uint8_t *get_channel(const uint8_t *p, lmb_monitor_channel *h)
{
    h->sum = lmbi_edge_u64(p);
    h->squares = lmbi_edge_u64(p + 8);
    h->image_squares = lmbi_edge_u64(p + 16);
    for (int i = 0; i < LMB_MONITOR_BINS; i++)
        h->bins[i] = lmbi_edge_u64(p + 24 + 8 * i);
    return p + LMBI_MONITOR_CHANNEL;
}

lmb_monitor *lmb_monitor_read(const void *file, size_t n, void *memory, char *why, size_t why_cap)
{
    lmbi_monitor_head h;
    const char *bad = lmbi_monitor_check(file, n, &h);
    if (bad) {
        for (size_t i = 0; i < why_cap; i++) { /* no snprintf: a device has it, too */
            why[i] = i + 1 < why_cap ? bad[i] : 0;
            if (!why[i])
                break;
        }
        return NULL;
    }
    const lmb_monitor_shape shape = { h.channels, h.looked, 0, h.classes, 0, h.model, h.release };
    lmb_monitor *k = lmb_monitor_init(memory, &shape);
    const uint8_t *p = (const uint8_t *)file + h.bytes;
    k->predictions = h.predictions;
    for (int i = 0; i < LMB_MONITOR_TIMES; i++, p += 4)
        k->times[i] = lmbi_edge_u32(p);
    for (int i = 0; i < LMB_MONITOR_MARGINS; i++, p += 4)
        k->margins[i] = lmbi_edge_u32(p);
    for (uint32_t c = 0; c < k->channels; c++)
        p = get_channel(p, &k->channel[c]);
    for (uint32_t i = 0; i < k->classes; i++, p += 4)
        k->answers[i] = lmbi_edge_u32(p);
    k->n_unsure = h.unsure;
    k->n_strange = h.strange;
    get_samples(get_samples(p, k->unsure, k->n_unsure), k->strange, k->n_strange);
    return k;
}

/* Newton's square root of a number from 1 on, so that a device needs no libm: from above, until it falls no more. */
static double root(double v)
{
    double x = v, next = (x + 1) / 2;
    while (next < x) {
        x = next;
        next = (x + v / x) / 2;
    }
    return x;
}

lmb_edge_status lmb_monitor_expect(lmb_monitor *k, const void *reference, size_t n)
{
    lmbi_monitor_head h;
    if (!reference || lmbi_monitor_check(reference, n, &h) || h.channels != k->channels || h.looked != k->looked ||
        h.predictions < 2 || (h.model && k->shape.model && h.model != k->shape.model))
        return LMB_EDGE_E_FORMAT;
    const uint8_t *p = (const uint8_t *)reference + h.bytes + LMBI_MONITOR_COUNTERS;
    double images = (double)h.predictions;
    for (uint32_t c = 0; c < k->channels; c++) {
        lmb_monitor_channel counted;
        p = get_channel(p, &counted);
        double mean = (double)counted.sum / images;
        double variance = (double)counted.image_squares / images - mean * mean;
        k->mean[c] = (float)mean;
        k->steps[c] = (float)(1 / root(variance > 1 ? variance : 1)); /* less than a step of one pixel says nothing */
    }
    k->expects = 1;
    return LMB_EDGE_OK;
}
