/* core/cuda/ops/dnn_conv.cu - convolutions by cuDNN: a chain for each shape, with our own kernel at its end.
 *
 * Idea: the chain is made and described when a plan is compiled; which step of it runs is decided at the first run,
 * when there is a device to ask, and the kernel's note says why the ones before it do not:
 *   forward    with what follows in one graph -> the convolution, then a pass over its result -> our own
 *   gradients  of the input: cuDNN -> our own; of weights: f32 from cuDNN -> bf16 from cuDNN, made wider -> our own
 * Where the queue measures, all of them that cuDNN has engines for, a few engines each, are timed on that run's
 * operands (contest.h), and our own kernel too where it has a chance: convolutions of single channels, and gradients of
 * weights of pictures. Elsewhere the first is taken, so that runs repeat.
 * A gradient of weights in NHWC order goes through scratch, where it is turned into plain order.
 */
#include <stdio.h>

#include "core/cuda/dnn.h"
#include "core/cuda/ops/conv.h"
#include "core/cuda/ops/race.h"

namespace lmb {
namespace {

template <class Form> struct own_rows;
#define OWN(Form, prefix, cores)                                                                                       \
    template <> struct own_rows<Form> {                                                                                \
        static constexpr bool tensor_cores = cores;                                                                    \
        static const lmb_kernel *of(const char *op)                                                                    \
        {                                                                                                              \
            return strcmp(op, "Conv") == 0           ? &lmbi_cuda_##prefix##_conv                                      \
                   : strcmp(op, "ConvAct") == 0      ? &lmbi_cuda_##prefix##_conv_act                                  \
                   : strcmp(op, "ConvGradData") == 0 ? &lmbi_cuda_##prefix##_conv_grad_data                            \
                                                     : &lmbi_cuda_##prefix##_conv_grad_weights;                        \
        }                                                                                                              \
    }
OWN(plain_f32, op, false);
OWN(nhwc_f32, nhwc, true);
OWN(nhwc_bf16, bf16, true);

template <class T, bool nhwc> struct pass {
    T *y;
    const float *bias;
    const T *add;
    int area, k;
    conv_ending e;
    LMB_BODY void operator()(int i) const
    {
        float v = (float)y[i] + (bias ? bias[nhwc ? i % k : i / area % k] : 0);
        v += add ? (float)add[i] : 0;
        put(&y[i], e.function == 'R'   ? (v < 0 ? 0 : v)
                   : e.function == 'C' ? (v < e.lo   ? e.lo
                                          : v > e.hi ? e.hi
                                                     : v)
                                       : v);
    }
};

/* dw [k][c][h][w] in f32 from [k][h][w][c] */
template <class T> struct turn {
    const T *from;
    float *to;
    int c, area;
    LMB_BODY void operator()(int i) const
    {
        to[i] = (float)from[(i / (c * area) * area + i % area) * c + i / area % c];
    }
};

struct link {
    const char *name;
    lmbi_dnn *dnn;
    lmb_dtype weights;
    bool fused, turned;
};

template <class Form> struct dnn_kernel {
    typedef Form form;
    typedef typename Form::type T;
    lmbi_dnn_kind kind;
    lmb_conv g;
    conv_ending end = {};
    bool bias = false, add = false, planned = false;
    const char *op = "";
    link chain[2] = {};
    int n_chain = 0, at = 0; /* at == n_chain: our own */
    fallback own = {};
    remarks said = {};

    static bool accepts(const lmb_call *c, const char **why) { return conv_accepts<Form>(c, why); }
    static const char *note(const void *state) { return ((const dnn_kernel *)state)->said.text; }

    void append(link l, const lmbi_dnn_ending &e)
    {
        lmb_error why = LMB_ERROR_INIT;
        lmb_dtype maps = sizeof(T) == 2 ? LMB_BF16 : LMB_F32;
        lmbi_dnn_form f = { maps, l.weights, Form::nhwc, Form::nhwc, own_rows<Form>::tensor_cores };
        if (lmbi_dnn_describe(kind, &g, &f, &e, &l.dnn, &why) == LMB_OK)
            chain[n_chain++] = l;
        said.add(l.name, l.dnn ? "described" : why.msg);
    }
    void make_chain()
    {
        lmb_dtype maps = sizeof(T) == 2 ? LMB_BF16 : LMB_F32;
        lmbi_dnn_ending e = { bias, add, end.function, end.hi }, nothing = {};
        bool turned = Form::nhwc && g.kh * g.kw > 1 && g.c / g.group > 1,
             simple = end.function != 'C' || (end.lo == 0 && end.hi > 0);
        if (kind == LMBI_DNN_WEIGHTS) {
            append(link{ "f32 result", nullptr, LMB_F32, false, turned }, nothing);
            if (maps == LMB_BF16)
                append(link{ "bf16 result", nullptr, LMB_BF16, false, true }, nothing);
            return;
        }
        if ((bias || add || end.function) && simple)
            append(link{ "fused", nullptr, maps, true, false }, e);
        append(link{ "plain", nullptr, maps, false, false }, nothing);
    }
    lmb_status prepare(const lmb_call *c, size_t *scratch, lmb_error *err)
    {
        size_t own_scratch = 0;
        g = lmb_conv_of_call(c);
        op = c->op->name;
        kind = lmbi_dnn_kind_of(op);
        end = ending_of(c);
        bias = kind == LMBI_DNN_FORWARD && c->n_in > 2 && c->in[2].present;
        add = kind == LMBI_DNN_FORWARD && c->n_in > 3 && c->in[3].present;
        own.row = own_rows<Form>::of(c->op->name);
        LMB_TRY(own.prepare(c, &own_scratch, err));
        bool nothing = !g.n || !g.c || !g.h || !g.w || !g.k || !g.oh || !g.ow;
        if (nothing)
            said.add("own", "no elements");
        else
            make_chain();
        *scratch =
            kind == LMBI_DNN_WEIGHTS && Form::nhwc ? sizeof(float) * (size_t)(g.k * (g.c / g.group) * g.kh * g.kw) : 0;
        *scratch = own_scratch > *scratch ? own_scratch : *scratch;
        return LMB_OK;
    }
    /* The first link that cuDNN has an engine for. Whatever keeps it from one, a plainer link may still do; if it is
     * the device that fails, so will our own kernel, and say so. */
    void take_first(lmb_cuda_queue *q)
    {
        for (at = 0; at < n_chain; at++) {
            lmb_error why = LMB_ERROR_INIT;
            lmbi_dnn *d = chain[at].dnn;
            if (lmbi_dnn_plan(d, q, 1, &why) == LMB_OK && lmbi_dnn_take(d, q, 0, &why) == LMB_OK)
                break;
            said.add(chain[at].name, why.msg);
        }
    }

    /* ---- by their times ---- */

    bool own_has_a_chance() const { return g.group == g.c || (kind == LMBI_DNN_WEIGHTS && g.c <= 3); }
    void shape_text(char *to, size_t room) const
    {
        const long long v[] = { g.n, g.c, g.h, g.w, g.k, g.kh, g.kw, g.sh, g.sw, g.ph, g.pw, g.ph2, g.pw2, g.dh, g.dw };
        snprintf(to, room,
                 "%s %s%s, x %lldx%lldx%lldx%lld, %lld filters %lldx%lld, strides %lldx%lld, pads %lld %lld %lld %lld, "
                 "dilations %lldx%lld, %lld groups%s%s%s%s",
                 op, sizeof(T) == 2                       ? "bf16"
                     : own_rows<Form>::tensor_cores ? "TF32"
                                                    : "f32",
                 Form::nhwc ? " NHWC" : "", v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8], v[9], v[10], v[11],
                 v[12], v[13], v[14], (long long)g.group, bias ? ", bias" : "", add ? ", sum" : "",
                 end.function == 'R' ? ", Relu" : "", end.function == 'C' ? ", Clip" : "");
        size_t n = strlen(to);
        if (end.function == 'C')
            snprintf(to + n, room - n, " %g %g", (double)end.lo, (double)end.hi);
    }
    int links() const { return n_chain; }
    static void name_of(char name[LMBI_CONTEST_NAME], const link &l, int i)
    {
        snprintf(name, LMBI_CONTEST_NAME, "%s engine %lld", l.name, (long long)lmbi_dnn_engine(l.dnn, i));
    }
    void enter_all(race<dnn_kernel> &x)
    {
        static_assert(2 * LMBI_DNN_TRIED + 1 <= LMBI_CONTEST_MOST, "both links and our own have room");
        char name[LMBI_CONTEST_NAME];
        for (int l = 0; l < n_chain; l++) {
            lmbi_dnn *d = chain[l].dnn;
            lmb_error why = LMB_ERROR_INIT;
            if (lmbi_dnn_plan(d, x.q, LMBI_DNN_TRIED, &why) != LMB_OK) {
                said.add(chain[l].name, why.msg);
                continue;
            }
            for (int i = 0; i < lmbi_dnn_made(d); i++) {
                name_of(name, chain[l], i);
                x.enter(name, l, lmbi_dnn_place(d, i), i);
            }
        }
        if (own_has_a_chance())
            x.enter("ours", n_chain, 0, 0);
    }
    lmb_status take(int l, int i, lmb_cuda_queue *q, lmb_error *err) { return lmbi_dnn_take(chain[l].dnn, q, i, err); }
    void keep(int l, int i)
    {
        for (int k = 0; k < n_chain; k++)
            lmbi_dnn_keep(chain[k].dnn, k == l ? i : -1);
    }
    lmb_status take_known(const lmbi_contestant &o, lmb_cuda_queue *q, lmb_error *err)
    {
        char name[LMBI_CONTEST_NAME];
        if (strcmp(o.name, "ours") == 0) {
            at = n_chain;
            return LMB_OK;
        }
        for (int l = 0; l < n_chain; l++) {
            if (strncmp(o.name, chain[l].name, strlen(chain[l].name)) != 0)
                continue;
            LMB_TRY(lmbi_dnn_plan_only(chain[l].dnn, q, o.place, err));
            name_of(name, chain[l], 0);
            if (strcmp(name, o.name) != 0)
                return LMB_FAIL(err, LMB_E_UNSUPPORTED, "at %d there is %s now", o.place, name);
            at = l;
            return lmbi_dnn_take(chain[l].dnn, q, 0, err);
        }
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "there is no such way");
    }
    void choose(const lmb_run *r, lmb_cuda_queue *q)
    {
        said.clear();
        planned = true;
        if (q->measures && n_chain && vectors(r) && !lmbi_queue_recording(q)) {
            char shape[320];
            shape_text(shape, sizeof shape);
            take_best(this, r, q, shape);
        } else {
            take_first(q);
        }
        char name[LMBI_CONTEST_NAME] = "own kernel";
        if (at < n_chain)
            name_of(name, chain[at], -1);
        said.add(name, at < n_chain ? "runs" : "");
    }
    static bool vectors(const lmb_run *r)
    {
        bool good = true;
        for (int i = 0; i < r->n_in; i++)
            good = good && (uintptr_t)r->in[i].data % 16 == 0;
        return good && (uintptr_t)r->out[0].data % 16 == 0;
    }
    lmb_status run_link(int which, const lmb_run *r, lmb_cuda_queue *q, lmb_error *err)
    {
        const link &l = chain[which];
        const void *a = r->in[0].data, *b = r->in[1].data;
        void *made = l.turned ? r->scratch : r->out[0].data;
        const float *bias_at = in<const float>(r, 2);
        const T *add_at = in<const T>(r, 3);
        lmbi_dnn_operands o = { a, b, made, bias_at, add_at };
        if (kind != LMBI_DNN_FORWARD)
            o = kind == LMBI_DNN_DATA ? lmbi_dnn_operands{ made, b, a, nullptr, nullptr }
                                      : lmbi_dnn_operands{ b, made, a, nullptr, nullptr };
        LMB_TRY(lmbi_dnn_run(l.dnn, q, &o, err));
        int64_t n = lmb_shape_count(&r->out[0].shape);
        int c = (int)(g.c / g.group), area = (int)(g.kh * g.kw);
        if (l.turned)
            return l.weights == LMB_BF16
                       ? each(r, n, turn<bf16>{ (const bf16 *)made, out<float>(r, 0), c, area }, err)
                       : each(r, n, turn<float>{ (const float *)made, out<float>(r, 0), c, area }, err);
        if (l.fused || !(bias || add || end.function))
            return LMB_OK;
        return each(r, n, pass<T, Form::nhwc>{ (T *)made, bias_at, add_at, (int)(g.oh * g.ow), (int)g.k, end }, err);
    }
    lmb_status run(const lmb_run *r, lmb_error *err)
    {
        lmb_cuda_queue *q = (lmb_cuda_queue *)r->queue;
        if (!q)
            return own.run(r, err);
        if (!planned)
            choose(r, q);
        return at < n_chain && vectors(r) ? run_link(at, r, q, err) : own.run(r, err);
    }
    ~dnn_kernel()
    {
        for (int i = 0; i < n_chain; i++)
            lmbi_dnn_destroy(chain[i].dnn);
    }
};

template <class Form> lmb_status describe_as(const lmb_call *c, int *links, lmb_error *err)
{
    dnn_kernel<Form> k;
    const char *why = "";
    size_t scratch = 0;
    if (!dnn_kernel<Form>::accepts(c, &why))
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s", why);
    LMB_TRY(k.prepare(c, &scratch, err));
    *links = k.n_chain;
    return k.n_chain && !strstr(k.said.text, "cuDNN, ") ? LMB_OK : LMB_FAIL(err, LMB_E_UNSUPPORTED, "%s", k.said.text);
}

} // namespace
} // namespace lmb

using namespace lmb;
extern "C" {
lmb_status lmbi_cuda_describe_conv(const lmb_call *c, lmb_cuda_precision precision, int *links, lmb_error *err)
{
    return precision == LMB_CUDA_BF16_MAPS       ? describe_as<nhwc_bf16>(c, links, err)
           : precision == LMB_CUDA_TF32_PRODUCTS ? describe_as<nhwc_f32>(c, links, err)
                                        : describe_as<plain_f32>(c, links, err);
}

#define DNN(prefix, name, Form)                                                                                        \
    const lmb_kernel lmbi_cuda_##prefix##_conv =                                                                       \
        conv_row<dnn_kernel<Form>>(name ":conv", "Conv", "", dnn_kernel<Form>::note);                                  \
    const lmb_kernel lmbi_cuda_##prefix##_conv_act =                                                                   \
        conv_row<dnn_kernel<Form>>(name ":conv_act", "ConvAct", "limbeck", dnn_kernel<Form>::note);                    \
    const lmb_kernel lmbi_cuda_##prefix##_conv_grad_data =                                                             \
        conv_row<dnn_kernel<Form>>(name ":conv_grad_data", "ConvGradData", "limbeck", dnn_kernel<Form>::note);         \
    const lmb_kernel lmbi_cuda_##prefix##_conv_grad_weights =                                                          \
        conv_row<dnn_kernel<Form>>(name ":conv_grad_weights", "ConvGradWeights", "limbeck", dnn_kernel<Form>::note)
DNN(dnn, "cudnn", plain_f32);
DNN(dnn_tf32, "cudnn-tf32", nhwc_f32);
DNN(dnn_bf16, "cudnn-bf16", nhwc_bf16);
}
