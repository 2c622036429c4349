/* tests/fields_check.h - a table of option rows must accept its own defaults.
 *
 * lmb_fields_default cannot report a default that is malformed or outside its range: this does.
 */
#ifndef LMB_TESTS_FIELDS_CHECK_H
#define LMB_TESTS_FIELDS_CHECK_H

#include <check.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/field.h"
#include "core/base/str.h"

enum { FIELDS_CHECK_BYTES = 1 << 16 };

static void ck_bind_text(const char *owner, const lmb_field *rows, const char *text, void *out)
{
    lmb_error why = LMB_ERROR_INIT;
    lmb_config *c = NULL;
    lmb_status st = lmb_config_parse(text, strlen(text), owner, &c, &why);
    if (st == LMB_OK)
        st = lmb_fields_bind(rows, lmb_config_root(c), out, &why);
    lmb_config_destroy(c);
    ck_assert_msg(st == LMB_OK, "%s: %s", owner, why.msg);
}

/* Every default, written out as a user would, binds to what lmb_fields_default gives. */
static inline void ck_defaults(const char *owner, const lmb_field *rows)
{
    static _Alignas(64) char defaults[FIELDS_CHECK_BYTES], bound[FIELDS_CHECK_BYTES];
    lmb_str text = LMB_STR_INIT, a = LMB_STR_INIT, b = LMB_STR_INIT;

    lmb_fields_default(rows, defaults);
    ck_assert_int_eq(lmb_fields_dump(rows, defaults, 0, &a), LMB_OK);
    for (const lmb_field *f = rows; f->key; f++)
        if ((f->kind == LMB_FIELD_INTS || f->kind == LMB_FIELD_REALS) && f->def_text) {
            lmb_str_clear(&text); /* alone: a malformed default dumps as an empty list, which would bind */
            lmb_str_addf(&text, "%s: %s\n", f->key, f->def_text);
            ck_bind_text(owner, rows, text.text, bound);
        }
    ck_bind_text(owner, rows, a.n ? a.text : "{}", bound);
    ck_assert_int_eq(lmb_fields_dump(rows, bound, 0, &b), LMB_OK);
    ck_assert_msg(a.n == b.n && (!a.n || !strcmp(a.text, b.text)), "%s: its defaults do not read back", owner);
    lmb_str_free(&text);
    lmb_str_free(&a);
    lmb_str_free(&b);
}

#endif
