/* distill/quantize/laid_file.c - see laid_file.h. */
#include "distill/quantize/laid_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/edge/laid.h"

enum { NAME = 16, MOST = 32, MOST_BYTES = 1 << 28 }; /* of a set; sections of a file; of a file that is read again */

/* The names between commas into name[MOST]; returns how many, -1: too long or too many. */
static int split(const char *sets, char name[][NAME])
{
    int n = 0;
    for (const char *at = sets; *at;) {
        size_t length = strcspn(at, ",");
        if (n == LMB_EDGE_LAID_SETS || length >= NAME)
            return -1;
        memcpy(name[n], at, length);
        name[n++][length] = 0;
        at += length + (at[length] == ',');
    }
    return n;
}

/* Few weights may take much room where they are laid out for wide vectors. */
static lmb_status check_room(const lmb_str *file, const char *const *names, int n, lmb_error *err)
{
    uint64_t bytes = file->n;
    lmb_edge_model m;

    if (lmb_edge_open(file->text, file->n, &m, NULL, 0) != LMB_EDGE_OK)
        return LMB_OK; /* who lays it out says why */
    for (int i = 0; i < n; i++)
        bytes += lmb_edge_laid_bytes(&m, names[i]);
    return bytes <= MOST_BYTES
               ? LMB_OK
               : LMB_FAIL(err, LMB_E_UNSUPPORTED,
                          "with its weights laid out the file would have %llu bytes, and at most %d are read: name fewer "
                          "kernel sets, or none",
                          (unsigned long long)bytes, MOST_BYTES);
}

lmb_status lmb_laid_make(lmb_str *file, const char *sets, lmb_error *err)
{
    char name[LMB_EDGE_LAID_SETS][NAME], why[200] = "";
    const char *names[LMB_EDGE_LAID_SETS];
    lmb_edge_buffer laid = { NULL, 0, 0 };
    int n = split(sets, name);

    if (n < 0)
        return LMB_FAIL(
            err, LMB_E_ARG,
            "weights can not be laid out for '%s'; give some of avx512vnni, avxvnni, avx2, neondot and neon, "
            "once each, with commas between them",
            sets);
    for (int i = 0; i < n; i++)
        names[i] = name[i];
    LMB_TRY(check_room(file, names, n, err));
    lmb_edge_status s = lmb_edge_write_laid(file->text, file->n, names, n, &laid, why, sizeof why);
    if (s != LMB_EDGE_OK)
        return LMB_FAIL(err,
                        s == LMB_EDGE_E_ARG     ? LMB_E_ARG
                        : s == LMB_EDGE_E_NOMEM ? LMB_E_NOMEM
                                                : LMB_E_FORMAT,
                        "%s", why);
    lmb_str_clear(file);
    lmb_str_add_n(file, (const char *)laid.data, laid.size);
    free(laid.data);
    return lmb_str_check(file, err);
}

/* ---- what a file has -------------------------------------------------------------------------------------- */

static const void *find(const lmb_edge_model *m, const char *set, size_t *bytes)
{
    const char *name;
    for (int i = 0; (name = lmb_edge_laid(m, i, bytes)); i++)
        if (strcmp(name, set) == 0)
            return name;
    return NULL;
}

/* Laid out once more, is it the same? Of another length it is not, and how much memory laying takes is not for the
 * file to say. */
static bool holds(const lmb_edge_model *m, const void *file, size_t n, const char *set, size_t bytes)
{
    if (lmb_edge_laid_bytes(m, set) != bytes)
        return false;
    lmb_edge_buffer again = { NULL, 0, 0 };
    lmb_edge_model own;
    size_t own_bytes;
    const void *at = NULL;
    if (lmb_edge_write_laid(file, n, &set, 1, &again, NULL, 0) == LMB_EDGE_OK &&
        lmb_edge_open(again.data, again.size, &own, NULL, 0) == LMB_EDGE_OK)
        at = find(&own, set, &own_bytes);
    bool same = at && own_bytes == bytes && memcmp((const char *)at - 8, set - 8, bytes) == 0; /* 8: of the name */
    free(again.data);
    return same;
}

static void add_set(char *to, size_t cap, const char *set, size_t bytes)
{
    size_t n = strlen(to);
    if (bytes)
        snprintf(to + n, cap - n, "%s%s (%zu bytes)", n ? ", " : "", set, bytes);
    else
        snprintf(to + n, cap - n, "%s%s", n ? ", " : "", set);
}

lmb_status lmb_laid_look(const void *file, size_t n, lmb_laid_facts *out, lmb_error *err)
{
    char why[200] = "";
    const char *set;
    lmb_edge_model m;
    void *aligned = NULL;
    size_t bytes;
    lmb_edge_status s = LMB_EDGE_E_NOMEM;

    memset(out, 0, sizeof *out);
    if (posix_memalign(&aligned, 64, n ? n : 1) != 0) /* as it would lie on a device that maps it */
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a model of %zu bytes", n);
    memcpy(aligned, file, n);
    s = lmb_edge_open(aligned, n, &m, why, sizeof why);
    for (int i = 0; s == LMB_EDGE_OK && i < MOST && (set = lmb_edge_laid(&m, i, &bytes)); i++) {
        add_set(out->sets, sizeof out->sets, set, bytes);
        if (!holds(&m, aligned, n, set, bytes))
            add_set(out->false_sets, sizeof out->false_sets, set, 0);
    }
    if (s == LMB_EDGE_OK && out->sets[0]) {
        lmb_edge_status used = lmb_edge_use_laid(&m, why, sizeof why);
        s = used == LMB_EDGE_E_FORMAT ? used : LMB_EDGE_OK;
        out->prepared = used == LMB_EDGE_OK ? lmb_edge_prepare_bytes(&m) : 0;
    }
    free(aligned);
    return s == LMB_EDGE_OK ? LMB_OK : LMB_FAIL(err, LMB_E_FORMAT, "%s", why);
}

lmb_status lmb_laid_true(const void *file, size_t n, const char *name, lmb_error *err)
{
    lmb_laid_facts facts;

    if (lmb_laid_look(file, n, &facts, err) != LMB_OK)
        return lmb_error_context(err, "%s", name);
    if (facts.false_sets[0])
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "%s: what is laid out for %s are not the weights of its network, and devices would run it; `limbeck "
                        "export --laid` lays them out anew",
                        name, facts.false_sets);
    return LMB_OK;
}
