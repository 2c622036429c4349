/* Mirrors core/base/hash.c. */
#include "core/base/hash.h"

#include <string.h>

#include "tests/check_main.h"

/* BLAKE2b with a 32-byte digest; values from CPython 3.11:
 *   python3 -c 'import hashlib; print(hashlib.blake2b(b"abc", digest_size=32).hexdigest())' */
static const struct { const char *in, *hex; } known[] = {
    { "", "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8" },
    { "abc", "bddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319" },
};
START_TEST(known_answers)
{
    char hex[LMB_HASH_HEX];
    lmb_hash h = lmb_hash_of(known[_i].in, strlen(known[_i].in));
    lmb_hash_hex(&h, hex);
    ck_assert_str_eq(hex, known[_i].hex);
}
END_TEST

START_TEST(pieces_equal_the_whole)
{
    unsigned char data[1000];
    lmb_hasher h;
    lmb_hash whole, pieces;

    for (int i = 0; i < 1000; i++)
        data[i] = (unsigned char)(i * 7);
    whole = lmb_hash_of(data, sizeof data);
    lmb_hash_begin(&h);
    lmb_hash_add(&h, NULL, 0);
    lmb_hash_add(&h, data, 1);
    lmb_hash_add(&h, data + 1, 500);
    lmb_hash_add(&h, data + 501, 499);
    pieces = lmb_hash_end(&h);
    ck_assert_mem_eq(whole.b, pieces.b, LMB_HASH_BYTES);
}
END_TEST

START_TEST(texts_do_not_run_together)
{
    lmb_hasher h;
    lmb_hash a, b;

    lmb_hash_begin(&h);
    lmb_hash_add_text(&h, "ab");
    lmb_hash_add_text(&h, "c");
    a = lmb_hash_end(&h);
    lmb_hash_begin(&h);
    lmb_hash_add_text(&h, "a");
    lmb_hash_add_text(&h, "bc");
    b = lmb_hash_end(&h);
    ck_assert_mem_ne(a.b, b.b, LMB_HASH_BYTES);
}
END_TEST

LMB_TEST_MAIN("core/base/hash", add_loop(known_answers, 2); add(pieces_equal_the_whole);
              add(texts_do_not_run_together);)
