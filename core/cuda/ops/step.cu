/* core/cuda/ops/step.cu - the kernels of a step that stays on the GPU: see core/plan/device_step.h.
 *
 * Idea: a team a chunk, one launch over the table of all segments. Rules are those of train/optimizers, in their
 * order of operations; nothing is contracted (--fmad=false), roots and quotients are rounded correctly (nvcc's
 * default), so that weights have the bits of the CPU wherever gradients have. Squares are added as train/parts.c
 * does, by a team of one in the very same order.
 *   source   as in train/optimizers and train/reduce.c
 */
#include "core/cuda/internal.h"
#include "core/cuda/ops/grid.h"
#include "core/graph/graph.h"
#include "core/plan/device_step.h"

namespace lmb
{
namespace
{

struct clear {
    lmb_step_work w;
    template <class Team> LMB_BODY void operator()(const Team &t, int row) const
    {
        const lmb_step_chunk &c = w.chunk[w.first + row];
        float *v = w.vector + LMB_STEP_HEAD + c.at;
        float neutral = c.reduce == LMB_REDUCE_MIN ? HUGE_VALF : c.reduce == LMB_REDUCE_MAX ? -HUGE_VALF : -0.0f;
        for (int i = t.lane(); i < c.n; i += t.lanes())
            v[i] = neutral;
        for (int i = t.lane(); row == 0 && i < LMB_STEP_HEAD; i += t.lanes())
            w.vector[i] = -0.0f;
    }
};

/* One team: the rows of a shard. Counts below 2^24 are exact in f32. */
struct count {
    lmb_step_work w;
    template <class Team> LMB_BODY void operator()(const Team &t, int) const
    {
        double right = 0;
        for (int i = t.lane(); i < w.rows; i += t.lanes()) {
            const float *x = w.logits + (size_t)i * w.classes;
            int best = 0;
            for (int k = 1; k < w.classes; k++)
                best = x[k] > x[best] ? k : best;
            right += best == w.label[i];
        }
        right = t.sum(right);
        if (t.lane() == 0) {
            w.vector[LMB_STEP_LOSS] = w.loss[0] * (float)w.rows;
            w.vector[LMB_STEP_CORRECT] = (float)right;
        }
    }
};

struct look_up {
    lmb_step_work w;
    LMB_BODY void operator()(int i) const
    {
        int row = i / w.classes, k = i % w.classes;
        int64_t sample = w.sample[row], epoch = w.now->there.epoch % (uint32_t)w.last;
        w.vector[i] = sample < w.samples ? w.from[(epoch * w.samples + sample) * w.classes + k] : NAN;
    }
};

struct weigh {
    lmb_step_work w;
    template <class Team> LMB_BODY void operator()(const Team &t, int row) const
    {
        const lmb_step_chunk &c = w.chunk[w.first + row];
        float *v = w.vector + LMB_STEP_HEAD + c.at;
        for (int i = t.lane(); c.reduce == LMB_REDUCE_MEAN && i < c.n; i += t.lanes())
            v[i] *= w.share;
    }
};

struct merge {
    lmb_step_work w;
    template <class Team> LMB_BODY void operator()(const Team &t, int row) const
    {
        const lmb_step_chunk &c = w.chunk[w.first + row];
        float *v = w.vector + LMB_STEP_HEAD + c.at;
        const float *from = w.from + LMB_STEP_HEAD + c.at;
        for (int i = t.lane(); i < c.n; i += t.lanes()) {
            float a = v[i], b = from[i];
            v[i] = c.reduce == LMB_REDUCE_MEAN ? a + b : (c.reduce == LMB_REDUCE_MIN ? b < a : b > a) ? b : a;
        }
        for (int i = t.lane(); w.head && row == 0 && i < LMB_STEP_HEAD; i += t.lanes())
            w.vector[i] += w.from[i];
    }
};

/* SLOPE, the first pass of two: before terms, and by the sizes of weights. */
struct squares {
    lmb_step_work w;
    template <class Team> LMB_BODY void operator()(const Team &t, int row) const
    {
        const lmb_step_chunk &c = w.chunk[row];
        float *g = w.vector + LMB_STEP_HEAD + c.at;
        bool first = w.kind == LMB_WORK_SLOPE, own = c.own != 0, trained = own && c.kind == LMB_CHUNK_TRAIN;
        bool terms = trained && !first && (w.anchor || w.shift), sized = trained && first && w.adaptive,
             scaled = trained && w.now->unscale != 1;
        float pull = w.now->pull, unscale = w.now->unscale;
        const float *state = w.kept && !first ? w.kept + c.slot : w.state + c.at; /* not those uphill */
        double sum[8] = { 0, 0, 0, 0, 0, 0, 0, 0 };

        for (int i = 8 * t.lane(); own && i < c.n; i += 8 * t.lanes()) {
            bool whole = i + 8 <= c.n;
            for (int k = 0; k < 8 && i + k < c.n; k++) {
                float v = g[i + k];
                if (scaled)
                    v *= unscale;
                if (sized)
                    v *= fabsf(state[i + k]);
                if (terms && w.anchor)
                    v += pull * (state[i + k] - w.anchor[c.at + i + k]);
                if (terms && w.shift)
                    v += w.shift[c.at + i + k];
                if (terms || sized || scaled)
                    g[i + k] = v;
                sum[whole ? k : 0] += (double)v * v;
            }
        }
        double all = ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
        all = t.sum(all);
        if (t.lane() == 0)
            w.part[row] = own && c.counts ? all : 0;
    }
};

/* AIM, the first pass of two: it is what counts. */
struct decide {
    lmb_step_work w;
    template <class Team> LMB_BODY void operator()(const Team &t, int) const
    {
        double sum = 0;
        for (int i = t.lane(); i < w.last; i += t.lanes())
            sum += w.part[i];
        double norm = sqrt(t.sum(sum));
        lmb_step_tally *y = w.tally;
        bool first = w.kind == LMB_WORK_AIM;
        if (t.lane() != 0 || y->failed >= 0)
            return;
        if (first || !w.kept) {
            y->loss += w.vector[LMB_STEP_LOSS];
            y->correct += (int64_t)w.vector[LMB_STEP_CORRECT];
        }
        y->norm = norm;
        y->rate = w.now->rule.lr;
        if (first)
            y->way = (float)(w.now->rho / (norm + LMB_SAM_LEAST));
        else
            y->shrink = w.now->clip > 0 && norm > w.now->clip ? (float)(w.now->clip / norm) : 1.0f;
        if (!(norm < HUGE_VAL))
            y->failed = w.now->step;
    }
};

struct climb {
    lmb_step_work w;
    template <class Team> LMB_BODY void operator()(const Team &t, int row) const
    {
        const lmb_step_chunk &c = w.chunk[row];
        if (!c.own)
            return;
        const float *g = w.vector + LMB_STEP_HEAD + c.at;
        float *state = w.state + c.at, *kept = w.kept + c.slot;
        bool trained = c.kind == LMB_CHUNK_TRAIN, moves = trained && w.tally->failed < 0;
        float way = w.tally->way;

        for (int i = t.lane(); i < c.n; i += t.lanes()) {
            float v = state[i];
            kept[i] = trained ? v : g[i];
            if (moves)
                state[i] = v + way * (w.adaptive ? g[i] * fabsf(v) : g[i]);
        }
    }
};

/* The step of one row of train/optimizers at one number. */
struct one {
    lmb_rule r;
    float l2, l1, shrink; /* shrink: of the weight, in adamw */
    LMB_BODY one(const lmb_rule &rule, float decay) : r(rule)
    {
        bool decoupled = r.kind == LMB_RULE_ADAMW;
        l2 = decoupled ? 0.0f : (float)(r.weight_decay * (double)decay);
        l1 = (float)(r.l1 * (double)decay);
        shrink = decoupled ? (float)(1 - r.lr * r.weight_decay * (double)decay) : 1.0f;
    }
    LMB_BODY float penalised(float g, float w) const
    {
        g += l2 * w;
        return l1 != 0 ? g + (w > 0 ? l1 : w < 0 ? -l1 : 0) : g;
    }
    LMB_BODY float step(float grad, float w, float *s0, float *s1) const
    {
        float g = penalised(grad, w);
        switch (r.kind) {
        case LMB_RULE_SGD:
            *s0 = r.a * *s0 + g;
            return w - r.rate * (r.nesterov ? g + r.a * *s0 : *s0);
        case LMB_RULE_ADAM:
        case LMB_RULE_ADAMW: {
            float x = w * shrink;
            *s0 = r.a * *s0 + r.ca * g;
            *s1 = r.b * *s1 + r.cb * g * g;
            return x - r.rate * (*s0 / (sqrtf(*s1) / r.root + r.eps));
        }
        case LMB_RULE_ADAGRAD:
            *s0 += g * g;
            return w - r.rate * (g / (sqrtf(*s0) + r.eps));
        case LMB_RULE_RMSPROP:
            *s0 = r.a * *s0 + r.ca * g * g;
            *s1 = r.b * *s1 + g / (sqrtf(*s0) + r.eps);
            return w - r.rate * *s1;
        }
        return w;
    }
};

struct move_all {
    lmb_step_work w;
    template <class Team> LMB_BODY void operator()(const Team &t, int row) const
    {
        const lmb_step_chunk &c = w.chunk[row];
        const float *kept = w.kept ? w.kept + c.slot : nullptr;
        if (!c.own)
            return;
        if (w.tally->failed >= 0) {
            for (int i = t.lane(); kept && c.kind == LMB_CHUNK_TRAIN && i < c.n; i += t.lanes())
                w.state[c.at + i] = kept[i];
            return;
        }
        const float *g = w.vector + LMB_STEP_HEAD + c.at;
        float *state = w.state + c.at, *ema = w.ema ? w.ema + c.at : nullptr;
        float *s0 = w.slot[0] ? w.slot[0] + c.slot : nullptr, *s1 = w.slot[1] ? w.slot[1] + c.slot : nullptr;
        float shrink = w.tally->shrink, keep = w.now->keep;
        one rule(w.now->rule, c.decay);

        for (int i = t.lane(); i < c.n; i += t.lanes()) {
            float v = state[i], grad = g[i], a = 0, b = 0;
            if (c.kind == LMB_CHUNK_TRAIN) {
                v = kept ? kept[i] : v;
                if (shrink != 1)
                    grad *= shrink;
                a = s0 ? s0[i] : 0;
                b = s1 ? s1[i] : 0;
                v = rule.step(grad, v, &a, &b);
                if (s0)
                    s0[i] = a;
                if (s1)
                    s1[i] = b;
            } else if (c.kind == LMB_CHUNK_NEXT) {
                v = kept ? kept[i] : grad;
            }
            if (c.kind != LMB_CHUNK_KEEP)
                state[i] = v;
            if (ema)
                ema[i] = keep * ema[i] + (1 - keep) * v;
        }
    }
};

} // namespace
} // namespace lmb

using namespace lmb;

extern "C" lmb_status lmbi_cuda_step_work(void *queue, const lmb_step_work *w, lmb_error *err)
{
    lmb_run r = {};
    r.queue = queue;
    switch (w->kind) {
    case LMB_WORK_CLEAR:
        return teams(&r, w->last - w->first, clear{ *w }, err);
    case LMB_WORK_COUNT:
        return teams(&r, 1, count{ *w }, err);
    case LMB_WORK_WEIGH:
        return teams(&r, w->last - w->first, weigh{ *w }, err);
    case LMB_WORK_MERGE:
        return teams(&r, w->last - w->first, merge{ *w }, err);
    case LMB_WORK_SQUARES:
    case LMB_WORK_SLOPE:
        return teams(&r, w->last, squares{ *w }, err);
    case LMB_WORK_DECIDE:
    case LMB_WORK_AIM:
        return teams(&r, 1, decide{ *w }, err);
    case LMB_WORK_MOVE:
        return teams(&r, w->last, move_all{ *w }, err);
    case LMB_WORK_CLIMB:
        return teams(&r, w->last, climb{ *w }, err);
    case LMB_WORK_ROWS:
        return each(&r, (int64_t)w->rows * w->classes, look_up{ *w }, err);
    case LMB_WORK_PICTURES:
        return lmbi_cuda_pictures(&r, w, err);
    case LMB_WORK_KINDS:
        break;
    }
    return LMB_FAIL(err, LMB_E_ARG, "there is no work of kind %d", (int)w->kind);
}
