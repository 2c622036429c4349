/* core/edge/c_selftest.c - see c_source.h: one image and the runtime's answer to it, for the device to compare. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/edge/c_source.h"
#include "core/edge/write_internal.h"

enum { PER_LINE = 16, PER_LINE_WIDE = 8 };

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static int
put(lmb_edge_buffer *to, const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    uint8_t *at = n < 0 || n >= (int)sizeof line ? NULL : lmbi_write_grow(to, (size_t)n);
    if (at)
        memcpy(at, line, (size_t)n);
    return at ? 0 : -1;
}

/* Noise over a slope: every channel sees all values, and neighbours are neither alike nor strangers. */
static void draw(uint8_t *image, uint32_t n)
{
    uint32_t noise = 1;
    for (uint32_t i = 0; i < n; i++) {
        noise = noise * 1664525u + 1013904223u;
        image[i] = (uint8_t)(((noise >> 24) + i % 256) / 2);
    }
}

static int put_bytes(lmb_edge_buffer *to, const char *name, const uint8_t *v, uint32_t n)
{
    int bad = put(to, "static const uint8_t %s[%lu] = {", name, (unsigned long)n);
    for (uint32_t i = 0; i < n && !bad; i++)
        bad = put(to, "%s%d,", i % PER_LINE ? " " : "\n    ", v[i]);
    return bad ? bad : put(to, "\n};\n");
}

/* Floats by their bits: what is compared is bytes. */
static int put_floats(lmb_edge_buffer *to, const char *name, const uint8_t *v, uint32_t n)
{
    int bad = put(to, "static const uint32_t %s[%lu] = {", name, (unsigned long)n);
    for (uint32_t i = 0; i < n && !bad; i++) {
        uint32_t bits;
        memcpy(&bits, v + 4 * (size_t)i, 4);
        bad = put(to, "%s0x%08lxu,", i % PER_LINE_WIDE ? " " : "\n    ", (unsigned long)bits);
    }
    return bad ? bad : put(to, "\n};\n");
}

static int put_all(lmb_edge_buffer *to, const char *name, const uint8_t *image, const lmb_edge_tensor *x,
                   const uint8_t *answer, const lmb_edge_tensor *y)
{
    int bad = put(to,
                  "/* %s_test.c - written by Limbeck: does %s.c, as it was compiled here, answer like the "
                  "runtime?\n * Link it for as long as you want to know: 0 from %s_selftest() says yes. */\n"
                  "#include <string.h>\n\n#include \"%s.h\"\n\n",
                  name, name, name, name);
    bad = bad ? bad : put_bytes(to, "image", image, x->count);
    bad = bad ? bad : (y->type == LMB_EDGE_F32 ? put_floats : put_bytes)(to, "expected", answer, y->count);
    return bad ? bad
               : put(to,
                     "\nint %s_selftest(void)\n{\n    static %s got[%lu];\n    int differ = 0;\n"
                     "    %s_run(image, got);\n    for (unsigned long i = 0; i < %lu; i++)\n"
                     "        differ += memcmp(&got[i], &expected[i], sizeof got[i]) != 0;\n    return differ;\n}\n",
                     name, y->type == LMB_EDGE_F32 ? "float" : "uint8_t", (unsigned long)y->count, name,
                     (unsigned long)y->count);
}

lmb_edge_status lmb_edge_write_c_test(const lmb_edge_model *m, const char *name, lmb_edge_buffer *out, char *why_text,
                                      size_t why_cap)
{
    lmbi_edge_why why = { why_text, why_cap };
    lmb_edge_model own = *m;
    lmb_edge_tensor x, y;
    size_t was = out->size;
    lmb_edge_status s = lmbi_c_name(name, &why);
    if (s != LMB_EDGE_OK)
        return s;
    (void)lmb_edge_use(&own, "scalar"); /* always there; every set gives the same bytes */
    lmb_edge_tensor_at(&own, 0, &x);
    lmb_edge_tensor_at(&own, own.n_ops, &y);
    void *prepared = malloc(lmb_edge_prepare_bytes(&own)), *arena = malloc(lmb_edge_arena_bytes(&own));
    uint8_t *image = (uint8_t *)malloc(x.bytes), *answer = (uint8_t *)malloc(y.bytes);
    int bad = !prepared || !arena || !image || !answer;
    if (!bad) {
        draw(image, x.count);
        lmb_edge_prepare(&own, prepared);
        bad = lmb_edge_run(&own, arena, image, answer) != LMB_EDGE_OK || put_all(out, name, image, &x, answer, &y);
    }
    free(prepared);
    free(arena);
    free(image);
    free(answer);
    if (!bad)
        return LMB_EDGE_OK;
    out->size = was;
    return lmbi_edge_fail(&why, LMB_EDGE_E_NOMEM, "out of memory for the text of %s_test.c", name);
}
