/* core/edge/kernels_deep.h - depthwise convolutions and averages: the part of kernels_tiles.h, which includes it, that
 * goes through the channels. WIDE of them at a time, TAPS taps in one step; rows of few channels are one long vector
 * with weights that repeat. */

/* The global average is a depthwise window of ones. */

/* Head of the packed memory; biases, multipliers and weights (layout.h) follow, unless they lie in the file. An odd
 * last tap is repeated at weight 0. */
typedef struct deep_plan {
    size_t rows, pixels, channels; /* of the output; `channels` are WIDE * blocks that follow each other */
    size_t next_row, next_pixel;   /* in the input                            */
    size_t groups;                 /* of TAPS taps                            */
    size_t step;                   /* blocks apart: 1, or 0 if all are alike  */
    const int32_t *bias;
    const float *m;
    const tap_weight *weights;
    int64_t offset[]; /* of TAPS * groups taps */
} deep_plan;

static int averages(const lmbi_edge_step *s) { return lmbi_averages(s); }
static int average_accepts(const lmbi_edge_step *s) { return lmbi_average_accepts(s); }
static int deep_accepts(const lmbi_edge_step *s) { return lmbi_deep_accepts(s); }
static size_t taps_of(const lmbi_edge_step *s) { return lmbi_taps_of(s); }
static size_t tap_groups(const lmbi_edge_step *s) { return (taps_of(s) + TAPS - 1) / TAPS; }

/* A row whose channels repeat within WIDE bytes is one long vector. If the stride is not 1, the input is copied so that
 * it is: first the pixels 0, stride, 2 stride ... of a row, then 1, 1 + stride ... Of one window a row no stride is
 * taken, however wide the file says it is; else it is less than a row, and the copy at most two inputs with borders. */
static int repeats(const lmbi_edge_step *s) { return lmbi_repeats(layout, s); }
static size_t phases_of(const lmbi_edge_step *s) { return !averages(s) && repeats(s) && s->y.w > 1 ? s->op.stride[1] : 1; }

/* Bytes of one phase of a row. */
static size_t phase_bytes(const lmbi_edge_step *s)
{
    size_t pixels = (size_t)s->x.w + s->op.pads[1] + s->op.pads[3], phases = phases_of(s);
    return (pixels + phases - 1) / phases * s->x.c;
}

static uint64_t deep_scratch(const lmbi_edge_step *s)
{
    uint64_t rows = (uint64_t)s->x.h + s->op.pads[0] + s->op.pads[2];
    return phases_of(s) > 1 ? rows * phases_of(s) * phase_bytes(s) + 16 : border_bytes(s);
}

/* A pixel is copied in sixteens; what is written too far is written again. */
static const uint8_t *in_phases(const lmbi_edge_step *s, const uint8_t *x, uint8_t *scratch)
{
    size_t phases = phases_of(s), length = phase_bytes(s), channels = s->x.c, left = s->op.pads[1];
    uint8_t *to = scratch, zero = s->x.zero_point;
    memset(to, zero, s->op.pads[0] * phases * length);
    to += s->op.pads[0] * phases * length;
    for (size_t i = 0; i < s->x.h; i++, x += s->x.w * channels)
        for (size_t p = 0; p < phases; p++, to += length) {
            size_t first = p >= left ? p - left : (phases - (left - p) % phases) % phases; /* its first pixel in x */
            size_t before = (first + left) / phases * channels;
            uint8_t *pixel = to + before;
            memset(to, zero, before);
            for (size_t j = first; j < s->x.w; j += phases, pixel += channels)
                for (size_t k = 0; k < channels; k += 16)
                    memcpy(pixel + k, x + j * channels + k, 16);
            memset(pixel, zero, (size_t)(to + length - pixel));
        }
    memset(to, zero, s->op.pads[2] * phases * length);
    return scratch;
}

static size_t deep_channels(const lmbi_edge_step *s) { return lmbi_deep_channels(layout, s, repeats(s)); }

static uint64_t deep_head(const lmbi_edge_step *s)
{
    return lmbi_edge_round_up(sizeof(deep_plan) + TAPS * tap_groups(s) * sizeof(int64_t));
}

static uint64_t deep_packed_bytes(const lmbi_edge_step *s)
{
    return deep_head(s) + (s->laid ? 0 : lmbi_deep_bytes(layout, deep_channels(s), tap_groups(s)));
}

static size_t tap_offset(const lmbi_edge_step *s, size_t k)
{
    if (averages(s))
        return k * s->x.c;
    size_t column = k % s->op.kernel[1] * s->op.dilation[1], phases = phases_of(s);
    return k / s->op.kernel[1] * s->op.dilation[0] * phases * phase_bytes(s) + column % phases * phase_bytes(s) +
           column / phases * s->x.c;
}

static void deep_pack(lmbi_edge_step *s)
{
    deep_plan *p = (deep_plan *)s->packed;
    size_t n = taps_of(s), all = deep_channels(s);
    p->rows = s->y.h;
    p->pixels = repeats(s) ? 1 : s->y.w;
    p->channels = repeats(s) ? (size_t)s->y.w * s->y.c : s->y.c;
    p->next_row = s->op.stride[0] * phases_of(s) * phase_bytes(s);
    p->next_pixel = (size_t)s->op.stride[1] * s->x.c;
    p->groups = tap_groups(s);
    p->step = !averages(s) && !repeats(s);
    for (size_t k = 0; k < TAPS * p->groups; k++)
        p->offset[k] = (int64_t)tap_offset(s, k < n ? k : n - 1);
    const uint8_t *numbers = s->laid;
    if (!numbers) {
        uint8_t *to = (uint8_t *)p + deep_head(s);
        memset(to, 0, (size_t)lmbi_deep_bytes(layout, all, p->groups));
        lmbi_deep_lay(layout, s, all, n, p->groups, to);
        numbers = to;
    }
    p->bias = (const int32_t *)(const void *)numbers;
    p->m = (const float *)(const void *)(numbers + 4 * all);
    p->weights = (const tap_weight *)(const void *)(numbers + 8 * all);
}

UNIT static void deep_pixel(const deep_plan *p, const output *q, const uint8_t *x, uint8_t *y)
{
    for (size_t at = 0; at < p->channels; at += WIDE) {
        size_t block = at / WIDE * p->step;
        const int32_t *bias = p->bias + WIDE * block;
        const float *m = p->m + WIDE * block;
        const tap_weight *w = p->weights + WIDE * TAPS * p->groups * block;
        ints acc[4];
        UNROLL for (int j = 0; j < 4; j++)
            acc[j] = load_ints(bias + j * LANES);
        for (size_t g = 0; g < p->groups; g++, w += WIDE * TAPS)
            taps(acc, x + at, p->offset + g * TAPS, w);
        bytes v = narrow(scaled(acc[0], load_floats(m)), scaled(acc[1], load_floats(m + LANES)),
                         scaled(acc[2], load_floats(m + 2 * LANES)), scaled(acc[3], load_floats(m + 3 * LANES)), q);
        if (p->channels - at >= WIDE)
            store(y + at, v);
        else
            store_some(y + at, v, p->channels - at);
    }
}

UNIT static void deep(const lmbi_edge_step *s, uint8_t *arena, uint8_t *scratch)
{
    const deep_plan *p = (const deep_plan *)s->packed;
    const uint8_t *x = arena + s->x.place;
    uint8_t *y = arena + s->y.place;
    if (!averages(s))
        x = phases_of(s) > 1 ? in_phases(s, x, scratch) : with_border(s, x, scratch);
    output q = output_of(s->y.zero_point, s->op.lo, s->op.hi);
    for (size_t i = 0; i < p->rows; i++)
        for (size_t j = 0; j < p->pixels; j++, y += p->channels)
            deep_pixel(p, &q, x + i * p->next_row + j * p->next_pixel, y);
}
