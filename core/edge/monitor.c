/* core/edge/monitor.c - see monitor.h: the part that runs beside a model. */
#include "core/edge/monitor.h"

#include <float.h>

#include "core/edge/internal.h"

/* Of the best answer against the second: ln(p / (1 - p)) for p = 0.525, 0.55, ... 0.975. */
static const float margin_ends[LMB_MONITOR_MARGINS - 1] = { 0.10008f, 0.20067f, 0.30228f, 0.40547f, 0.51083f,
                                                            0.61904f, 0.73089f, 0.84730f, 0.96940f, 1.09861f,
                                                            1.23676f, 1.38629f, 1.55060f, 1.73460f, 1.94591f,
                                                            2.19722f, 2.51231f, 2.94444f, 3.66356f };

static uint32_t at_most(uint32_t a, uint32_t b) { return a < b ? a : b; }

static uint32_t counted_classes(const lmb_monitor_shape *shape)
{
    return shape->classes <= LMB_MONITOR_CLASSES ? shape->classes : 0;
}

size_t lmb_monitor_bytes(const lmb_monitor_shape *shape)
{
    return sizeof(lmb_monitor) + at_most(shape->channels, LMB_MONITOR_CHANNELS) * sizeof(lmb_monitor_channel) +
           counted_classes(shape) * sizeof(uint32_t);
}

lmb_monitor *lmb_monitor_init(void *memory, const lmb_monitor_shape *shape)
{
    lmb_monitor *k = (lmb_monitor *)memory;
    const lmb_monitor_shape kept = *shape; /* may be that of the monitor itself */
    memset(memory, 0, lmb_monitor_bytes(&kept));
    k->shape = kept;
    k->channels = at_most(kept.channels, LMB_MONITOR_CHANNELS);
    k->classes = counted_classes(&kept);
    k->looked = at_most(kept.pixels, LMB_MONITOR_PIXELS);
    k->channel = (lmb_monitor_channel *)(void *)(k + 1);
    k->answers = (uint32_t *)(void *)(k->channel + k->channels);
    return k;
}

static void count(uint32_t *n) { *n += *n != UINT32_MAX; }

/* ---- bins of time ----------------------------------------------------------------------------------------- */

uint32_t lmb_monitor_time_bin(uint64_t nanoseconds)
{
    uint32_t octave = 2;
    if (nanoseconds < 4)
        return 0;
    while (octave < 42 && nanoseconds >> (octave + 1))
        octave++;
    uint32_t bin = 4 * (octave - 2) + (uint32_t)(nanoseconds >> (octave - 2) & 3);
    return bin >= LMB_MONITOR_TIMES ? LMB_MONITOR_TIMES - 1 : bin;
}

uint64_t lmb_monitor_bin_time(uint32_t bin) { return (uint64_t)(4 + bin % 4) << bin / 4; }

/* ---- lists of samples ------------------------------------------------------------------------------------- */

/* Keep the lowest (sign 1) or highest (sign -1) scores; the one to give way is always first. */
static void keep(lmb_monitor_sample *list, uint32_t *n, lmb_monitor_sample s, float sign)
{
    uint32_t worst = 0;
    if (*n < LMB_MONITOR_KEEP)
        list[(*n)++] = s;
    else if (sign * s.score < sign * list[0].score)
        list[0] = s;
    else
        return;
    for (uint32_t i = 1; i < *n; i++)
        if (sign * list[i].score > sign * list[worst].score)
            worst = i;
    s = list[0];
    list[0] = list[worst];
    list[worst] = s;
}

/* ---- one prediction --------------------------------------------------------------------------------------- */

/* Pixels a stride apart, odd so that they are not a column, beginning elsewhere in each image. Returns how far the
 * image is from the reference, in deviations of its farthest channel. */
static float look_at_input(lmb_monitor *k, const uint8_t *input)
{
    uint32_t stride = k->looked ? k->shape.pixels / k->looked : 1;
    stride -= stride > 1 && stride % 2 == 0;
    uint32_t first = k->looked ? (uint32_t)(k->predictions % (k->shape.pixels - stride * (k->looked - 1))) : 0;
    size_t between = (size_t)stride * (k->shape.planes ? 1 : k->shape.channels);
    float far = 0;
    for (uint32_t c = 0; c < k->channels; c++) {
        lmb_monitor_channel *h = &k->channel[c];
        const uint8_t *q = k->shape.planes ? input + (size_t)c * k->shape.pixels + first
                                           : input + (size_t)first * k->shape.channels + c;
        uint32_t sum = 0, squares = 0;
        for (uint32_t i = 0; i < k->looked; i++, q += between) {
            sum += *q;
            squares += (uint32_t)*q * *q;
            h->bins[*q >> 4]++;
        }
        h->sum += sum;
        h->squares += squares;
        h->image_squares += (uint64_t)sum * sum;
        float away = ((float)sum - k->mean[c]) * k->steps[c];
        away = away < 0 ? -away : away;
        far = away > far ? away : far;
    }
    return far;
}

static float value_of(const lmb_monitor *k, const void *output, uint32_t i)
{
    float f;
    if (k->shape.scale > 0)
        return (float)((const uint8_t *)output)[i] * k->shape.scale;
    memcpy(&f, (const uint8_t *)output + 4 * (size_t)i, sizeof f);
    return f;
}

/* The best answer and its margin over the second: none, and so the least certain, where there is no number. */
static uint32_t look_at_output(const lmb_monitor *k, const void *output, float *margin)
{
    uint32_t best = 0;
    float first = value_of(k, output, 0), second = 0;
    for (uint32_t i = 1; i < k->shape.classes; i++) {
        float v = value_of(k, output, i);
        if (v > first) {
            second = first;
            first = v;
            best = i;
        } else if (i == 1 || v > second) {
            second = v;
        }
    }
    *margin = first - second;
    if (!(*margin <= FLT_MAX))
        *margin = first > second ? FLT_MAX : 0;
    return best;
}

void lmb_monitor_add(lmb_monitor *k, uint64_t number, const uint8_t *input, const void *output, uint64_t nanoseconds)
{
    lmb_monitor_sample s = { number, 0, 0 };
    if (k->predictions >> LMB_MONITOR_BITS)
        return;
    count(&k->times[lmb_monitor_time_bin(nanoseconds)]);
    float far = look_at_input(k, input);
    if (k->classes > 1) {
        uint32_t bin = 0;
        s.answer = look_at_output(k, output, &s.score);
        while (bin < LMB_MONITOR_MARGINS - 1 && s.score >= margin_ends[bin])
            bin++;
        count(&k->margins[bin]);
        count(&k->answers[s.answer]);
        keep(k->unsure, &k->n_unsure, s, 1);
    }
    if (k->expects) {
        s.score = far;
        keep(k->strange, &k->n_strange, s, -1);
    }
    k->predictions++;
}
