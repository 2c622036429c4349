/* Mirrors comm/wire.c. */
#include "comm/wire.h"

#include <string.h>

#include "tests/check_main.h"

static lmb_error err;

typedef struct sample {
    uint32_t a;
    uint64_t b;
    double c;
    uint8_t id[4];
    char text[8];
    lmb_figures metrics;
} sample;

static const lmb_wire_field rows[] = {
    LMB_WIRE(sample, a, U32, 0),    LMB_WIRE(sample, b, U64, 0),           LMB_WIRE(sample, c, REAL, 0),
    LMB_WIRE(sample, id, BYTES, 4), LMB_WIRE(sample, text, TEXT, 8),       LMB_WIRE(sample, metrics, METRICS, 0),
    LMB_WIRE_LAST,
};

static sample example(void)
{
    sample s;
    memset(&s, 0, sizeof s);
    s = (sample){ 0x01020304, 0x1122334455667788, -0.5, { 9, 8, 7, 6 }, "seven77", { 0 } };
    lmb_figures_add(&s.metrics, "loss", 0.25);
    return s;
}

/* The bytes are a promise to other machines: written out by hand from the layout in wire.h. */
START_TEST(bytes_are_fixed)
{
    static const uint8_t want[] = { 4,   3,   2,   1,   0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0,
                                    0,   0,   0,   0,   0,    0xe0, 0xbf, 9,    8,    7,    6,    7,    0,
                                    's', 'e', 'v', 'e', 'n',  '7',  '7',  1,    0,    4,    0,    'l',  'o',
                                    's', 's', 0,   0,   0,    0,    0,    0,    0xd0, 0x3f };
    sample s = example(), back;
    uint8_t buf[128];
    size_t n;
    memset(&back, 0, sizeof back);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_wire_write("sample", rows, &s, buf, sizeof buf, &n, &err));
    ck_assert_uint_eq(n, sizeof want);
    ck_assert_mem_eq(buf, want, n);
    ck_ok(lmb_wire_read("sample", rows, buf, n, &back, &err));
    ck_assert_str_eq(back.text, "seven77");
    ck_assert_uint_eq(back.b, s.b);
    ck_assert_double_eq(back.metrics.row[0].value, 0.25);
    for (size_t k = 0; k < n; k++) {
        err = (lmb_error)LMB_ERROR_INIT;
        ck_assert_int_eq(lmb_wire_read("sample", rows, buf, k, &back, &err), LMB_E_FORMAT);
        ck_assert_int_eq(lmb_wire_write("sample", rows, &s, buf + 64, k, &n, &err), LMB_E_ARG);
        n = sizeof want;
    }
    buf[n] = 0;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_wire_read("sample", rows, buf, n + 1, &back, &err), LMB_E_FORMAT);
    ck_assert_str_eq(err.msg, "message sample has 1 bytes after its end");
}
END_TEST

START_TEST(limits_hold)
{
    sample s = example(), back;
    uint8_t buf[128];
    size_t n;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_wire_write("sample", rows, &s, buf, sizeof buf, &n, &err));
    buf[24] = 8; /* text one longer than its array holds */
    ck_assert_int_eq(lmb_wire_read("sample", rows, buf, n, &back, &err), LMB_E_FORMAT);
    ck_assert_str_eq(err.msg, "message sample: 'text' has 8 bytes, the limit is 7");
    buf[24] = 7;
    buf[28] = 0;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_wire_read("sample", rows, buf, n, &back, &err), LMB_E_FORMAT);
    ck_assert_str_eq(err.msg, "message sample: 'text' holds a control character, or none of UTF-8, at byte 2");
    buf[28] = 'v';
    buf[33] = 17;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_wire_read("sample", rows, buf, n, &back, &err), LMB_E_FORMAT);
    ck_assert_str_eq(err.msg, "message sample: 'metrics' has 17 entries, the limit is 16");
    for (int i = 0; i < 40; i++)
        lmb_figures_add(&s.metrics, "a name that is longer than thirty-two characters", i);
    ck_assert_uint_eq(s.metrics.n, LMB_METRICS_MAX);
    ck_assert_uint_eq(strlen(s.metrics.row[1].name), LMB_METRIC_NAME - 1);
}
END_TEST

/* A name with a line break could forge a line of the server's log. */
START_TEST(text_is_one_line)
{
    sample s = example(), back;
    uint8_t buf[128];
    size_t n;
    err = (lmb_error)LMB_ERROR_INIT;
    memcpy(s.text, "a\nb\x1b[m", 7);
    ck_ok(lmb_wire_write("sample", rows, &s, buf, sizeof buf, &n, &err));
    ck_ok(lmb_wire_read("sample", rows, buf, n, &back, &err));
    ck_assert_str_eq(back.text, "a?b?[m");
    buf[27] = '\n';
    ck_assert_int_eq(lmb_wire_read("sample", rows, buf, n, &back, &err), LMB_E_FORMAT);
    ck_assert_str_eq(err.msg, "message sample: 'text' holds a control character, or none of UTF-8, at byte 1");
    memcpy(buf + 27, "\xc2\x9b", 2); /* U+009B: to a terminal what ESC [ is */
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_wire_read("sample", rows, buf, n, &back, &err), LMB_E_FORMAT);
    memcpy(buf + 27, "\xc3\xbc", 2);
    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_wire_read("sample", rows, buf, n, &back, &err));
    memcpy(s.text, "xxxxxx\xc3", 8); /* cut in the middle of a character */
    ck_ok(lmb_wire_write("sample", rows, &s, buf, sizeof buf, &n, &err));
    ck_ok(lmb_wire_read("sample", rows, buf, n, &back, &err));
    ck_assert_str_eq(back.text, "xxxxxx?");
}
END_TEST

LMB_TEST_MAIN("comm/wire", add(bytes_are_fixed); add(limits_hold); add(text_is_one_line);)
