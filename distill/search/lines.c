/* distill/search/lines.c - see lines.h. */
#include "distill/search/lines.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"

enum { LINE_MOST = 1 << 26 };

/* Parse and hand on one line; *whole is false for one that is torn. */
static lmb_status one(const char *path, int64_t number, const char *text, size_t n, const char *remedy,
                      lmb_status (*row)(void *, const lmb_tree *, lmb_error *), void *ctx, bool *whole, lmb_error *err)
{
    lmb_config *c = NULL;
    lmb_error torn = LMB_ERROR_INIT;

    *whole = lmb_config_parse_most(text, n, path, LINE_MOST, &c, &torn) == LMB_OK && lmb_config_root(c) &&
             lmb_config_root(c)->kind == LMB_TREE_MAP;
    lmb_error why = LMB_ERROR_INIT;
    lmb_status st = *whole ? row(ctx, lmb_config_root(c), &why) : LMB_OK;
    if (st == LMB_E_FORMAT)
        LMB_FAIL(err, st, "%s, line %lld: %s; put the file back as it was, or %s", path, (long long)number, why.msg,
                 remedy);
    else if (st != LMB_OK)
        LMB_FAIL(err, st, "%s, line %lld: %s", path, (long long)number, why.msg);
    lmb_config_destroy(c);
    return st;
}

lmb_status lmb_lines_read(const char *path, const char *remedy, lmb_status (*row)(void *ctx, const lmb_tree *line, lmb_error *err),
                          void *ctx, lmb_error *err)
{
    size_t bytes, keep = 0;
    int64_t number = 0;
    bool whole = true;
    const char *end;
    void *text;

    if (!lmb_file_exists(path))
        return LMB_OK;
    LMB_TRY(lmb_file_read(path, (size_t)1 << 30, &text, &bytes, err));
    const char *lines = text;
    lmb_status st = LMB_OK;
    while (st == LMB_OK && keep < bytes && (end = memchr(lines + keep, '\n', bytes - keep)) != NULL) {
        size_t n = (size_t)(end - lines) - keep;
        number++;
        if (n == 0) { /* somebody's editor */
            keep++;
            continue;
        }
        st = one(path, number, lines + keep, n, remedy, row, ctx, &whole, err);
        if (!whole && keep + n + 1 < bytes)
            st = LMB_FAIL(err, LMB_E_FORMAT,
                          "%s, line %lld is damaged, and others follow it: put the file back as it was, or %s", path,
                          (long long)number, remedy);
        if (!whole)
            break;
        keep += n + 1;
    }
    if (st == LMB_OK && keep < bytes)
        st = lmb_file_write(path, text, keep, err);
    free(text);
    return st;
}

lmb_status lmb_lines_add(const char *path, lmb_str *line, lmb_error *err)
{
    lmb_str_add(line, "\n");
    LMB_TRY(lmb_str_check(line, err));
    if (line->n > LINE_MOST)
        return LMB_FAIL(err, LMB_E_ARG, "%s: a line of %zu bytes is more than the %d that will be read again", path,
                        line->n, LINE_MOST);
    LMB_TRY(lmb_file_append(path, line->text, line->n, err));
    return lmb_file_sync(path, err);
}

lmb_status lmb_line_real(const lmb_tree *line, const char *key, double *out, lmb_error *err)
{
    const lmb_tree *t = lmb_tree_get(line, key);
    lmb_error local = LMB_ERROR_INIT;

    if (!t || lmb_tree_real(t, out, &local) != LMB_OK)
        return LMB_FAIL(err, LMB_E_FORMAT, "'%s' is no number", key);
    return LMB_OK;
}

lmb_status lmb_line_text(const lmb_tree *line, const char *key, const char **out, lmb_error *err)
{
    const lmb_tree *t = lmb_tree_get(line, key);
    lmb_error local = LMB_ERROR_INIT;

    if (!t || lmb_tree_text(t, out, &local) != LMB_OK)
        return LMB_FAIL(err, LMB_E_FORMAT, "'%s' is no text", key);
    return LMB_OK;
}
