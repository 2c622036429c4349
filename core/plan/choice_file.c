/* core/plan/choice_file.c - a table of choices from one run to the next. See choice.h.
 *
 *   file   kernels-<hash of machine and threads>.txt: a line that names both, the table's lines, and a line `end
 *          <hash>` over all before it
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/file.h"
#include "core/base/hash.h"
#include "core/plan/internal.h"

enum { LIMIT = 4 << 20, END = 4 + LMB_HASH_HEX }; /* "end " hash newline */

static void first_line(const lmb_choices *c, const char *machine, lmb_str *out)
{
    lmb_str_addf(out, "limbeck kernels 1, %d threads, %s\n", lmbi_choices_threads(c), machine);
}

static lmb_status path_of(const lmb_choices *c, const char *folder, const char *machine, char path[PATH_MAX],
                          lmb_error *err)
{
    char hex[LMB_HASH_HEX], name[48];
    lmb_str s = LMB_STR_INIT;

    first_line(c, machine, &s);
    lmb_status st = lmb_str_check(&s, err);
    if (st == LMB_OK) {
        lmb_hash h = lmb_hash_of(s.text, s.n);
        lmb_hash_hex(&h, hex);
        snprintf(name, sizeof name, "kernels-%.16s.txt", hex);
        st = lmb_path_join(path, PATH_MAX, folder, name, err);
    }
    lmb_str_free(&s);
    return st;
}

static void add_end(lmb_str *s)
{
    char hex[LMB_HASH_HEX];
    lmb_hash h = lmb_hash_of(s->text, s->n);
    lmb_hash_hex(&h, hex);
    lmb_str_addf(s, "end %s\n", hex);
}

/* The content of a file, its first and last line checked. */
static lmb_status take(lmb_choices *c, const char *machine, const char *text, size_t n, lmb_error *err)
{
    lmb_str head = LMB_STR_INIT, whole = LMB_STR_INIT;
    lmb_status st;

    first_line(c, machine, &head);
    if (n >= END) {
        lmb_str_add_n(&whole, text, n - END);
        if (whole.n)
            add_end(&whole);
    }
    st = lmb_str_check(&head, err);
    if (st == LMB_OK)
        st = lmb_str_check(&whole, err);
    if (st == LMB_OK &&
        (n < head.n + END || memcmp(text, head.text, head.n) != 0 || whole.n != n || memcmp(text, whole.text, n) != 0))
        st = LMB_FAIL(err, LMB_E_FORMAT, "cut short, damaged, or of something else");
    if (st == LMB_OK)
        st = lmb_choices_add(c, text + head.n, n - END - head.n, err);
    lmb_str_free(&head);
    lmb_str_free(&whole);
    return st;
}

lmb_status lmb_choices_load(lmb_choices *c, const char *folder, const char *machine, const lmb_log *log, lmb_error *err)
{
    lmb_error local = LMB_ERROR_INIT;
    char path[PATH_MAX];
    void *text;
    size_t n;

    LMB_TRY(path_of(c, folder, machine, path, err));
    if (access(path, F_OK) != 0 && errno == ENOENT)
        return LMB_OK;
    lmb_status st = lmb_file_read(path, LIMIT, &text, &n, &local);
    if (st == LMB_OK) {
        st = take(c, machine, text, n, &local);
        if (st != LMB_OK)
            lmb_error_context(&local, "%s", path);
        free(text);
    }
    if (st == LMB_E_NOMEM)
        return LMB_FAIL(err, st, "%s", local.msg);
    if (st != LMB_OK)
        lmb_log_at(log, LMB_LOG_WARN, "plan", "%s; kernels are measured anew", local.msg);
    return LMB_OK;
}

/* Written under a name of this process's own, then moved into place. Of two that do so at once the later one wins; what
 * the other measured in between is measured again some day. */
lmb_status lmb_choices_save(lmb_choices *c, const char *folder, const char *machine, lmb_error *err)
{
    char path[PATH_MAX], mine[PATH_MAX + 32];
    lmb_str s = LMB_STR_INIT;

    LMB_TRY(path_of(c, folder, machine, path, err));
    LMB_TRY(lmb_file_make_dirs(folder, err));
    LMB_TRY(lmb_choices_load(c, folder, machine, NULL, err));
    snprintf(mine, sizeof mine, "%s.%ld", path, (long)getpid());
    first_line(c, machine, &s);
    lmb_choices_text(c, false, &s);
    if (!s.failed)
        add_end(&s);
    lmb_status st = lmb_str_check(&s, err);
    if (st == LMB_OK)
        st = lmb_file_write(mine, s.text, s.n, err);
    if (st == LMB_OK && rename(mine, path) != 0) {
        st = LMB_FAIL(err, LMB_E_IO, "%s: it can not be put in place: %s", path, strerror(errno));
        unlink(mine);
    }
    lmb_str_free(&s);
    return st;
}
