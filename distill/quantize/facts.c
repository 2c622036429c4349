/* distill/quantize/facts.c - see facts.h. */
#include "distill/quantize/facts.h"

#include <stdlib.h>

#include "core/edge/write.h"
#include "core/onnx/onnx.h"

const lmb_facts lmb_facts_blank = {
    .has_teacher = true, .has_data = true, .has_point = true, .part = "held-out", .samples = 1000
};

static void add_hash(lmb_str *s, const char *key, bool known, const lmb_hash *h)
{
    char hex[LMB_HASH_HEX];

    lmb_hash_hex(h, hex);
    if (known)
        lmb_str_addf(s, "%s=%.16s\n", key, hex);
}

lmb_status lmb_facts_hash(const lmb_graph *model, lmb_hash *out, lmb_error *err)
{
    lmb_str bytes = LMB_STR_INIT;
    lmb_status st = lmb_onnx_export(model, NULL, &bytes, err);

    if (st == LMB_OK)
        *out = lmb_hash_of(bytes.text, bytes.n);
    lmb_str_free(&bytes);
    return st;
}

lmb_status lmb_facts_put(lmb_str *file, const lmb_facts *f, lmb_error *err)
{
    lmb_edge_buffer out = { NULL, 0, 0 };
    lmb_str lines = LMB_STR_INIT;
    char why[200] = "";

    lmb_str_add(&lines, "producer=limbeck\n");
    add_hash(&lines, "teacher", f->has_teacher, &f->teacher);
    add_hash(&lines, "data", f->has_data, &f->data);
    if (f->part)
        lmb_str_addf(&lines, "accuracy=%.4f\nsamples=%lld\npart=%s\n", (double)f->right / (double)f->samples,
                     (long long)f->samples, f->part);
    if (f->has_point)
        lmb_str_addf(&lines, "point=%d\n", f->point);
    lmb_status st = lmb_str_check(&lines, err);
    if (st == LMB_OK &&
        lmb_edge_write_lines(file->text, file->n, lines.text, lines.n, &out, why, sizeof why) != LMB_EDGE_OK)
        st = LMB_FAIL(err, LMB_E_FORMAT, "the model can not say where it comes from: %s", why);
    if (st == LMB_OK) {
        lmb_str_clear(file);
        lmb_str_add_n(file, out.data, out.size);
        st = lmb_str_check(file, err);
    }
    free(out.data);
    lmb_str_free(&lines);
    return st;
}
