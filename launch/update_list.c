/* launch/update_list.c - the numbers of a list of samples, as `limbeck monitor --label` writes it. See update.h. */
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "launch/update.h"

enum { MOST = 1 << 26 };

/* A digit string at the begin of a line, up to a comma or the end of the line. */
static const char *number_at(const char *line, const char *end, int64_t *out)
{
    *out = 0;
    for (; line < end && *line >= '0' && *line <= '9' && *out < INT32_MAX; line++)
        *out = 10 * *out + (*line - '0');
    return line;
}

static lmb_status mark(const char *path, const char *text, size_t n, int64_t samples, uint8_t *wanted, lmb_error *err)
{
    const char *end = text + n;
    int64_t row = 1;

    if (n < 6 || memcmp(text, "number", 6) != 0)
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "%s: the first column must be called number, as `limbeck monitor --label` writes it", path);
    for (const char *line = memchr(text, '\n', n); line && ++line < end;
         line = memchr(line, '\n', (size_t)(end - line)), row++) {
        int64_t v;
        const char *stop = number_at(line, end, &v);
        if (stop == line || (stop < end && !memchr(",\r\n", *stop, 3)) || v >= samples)
            return LMB_FAIL(err, LMB_E_FORMAT, "%s: row %lld has no number of a sample in 0 .. %lld", path,
                            (long long)row, (long long)samples - 1);
        wanted[v] = 1;
    }
    return LMB_OK;
}

lmb_status lmbi_update_list(const char *path, int64_t n, uint32_t **out, int64_t *count, lmb_error *err)
{
    void *text;
    size_t bytes;

    LMB_TRY(lmb_file_read(path, MOST, &text, &bytes, err));
    uint8_t *wanted = calloc(1, (size_t)n);
    uint32_t *list = malloc(sizeof *list * (size_t)n);
    int64_t found = 0;
    lmb_status st =
        wanted && list ? mark(path, text, bytes, n, wanted, err) : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a list");
    for (int64_t i = 0; i < n && st == LMB_OK; i++)
        if (wanted[i])
            list[found++] = (uint32_t)i;
    if (st == LMB_OK && !found)
        st = LMB_FAIL(err, LMB_E_ARG, "%s names no sample: there is nothing to learn", path);
    free(wanted);
    free(text);
    if (st != LMB_OK) {
        free(list);
        return st;
    }
    *out = list;
    *count = found;
    return LMB_OK;
}
