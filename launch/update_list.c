/* launch/update_list.c - see update_list.h. */
#include "launch/update_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/scan.h"
#include "core/base/text.h"

enum { MOST = 1 << 26, DEVICES = 4096, DIGITS = 20, SHOWN = 5, LABEL = 100 };

typedef struct row {
    uint64_t number;
    int device;
} row;

typedef struct list {
    const char *path;
    char *text; /* of the file; cells are cut out of it where they lie */
    row *row;
    int64_t n;
    char *device[DEVICES]; /* the different values of the column `file`, "" without */
    int devices;
} list;

/* ---- CSV: RFC 4180 ---- */

/* The next cell, and what stands behind it: a comma, a newline or the end of the text. NULL: a quote without its other,
 * or something behind it. */
static char *cell(char **at, char *after)
{
    char *from = *at, *to = from, *p = from;

    if (*p != '"') {
        to = p += strcspn(p, ",\r\n");
    } else {
        bool closed = false;
        for (p++; *p && !closed; p++)
            if (*p == '"' && p[1] != '"')
                closed = true;
            else
                *to++ = *p == '"' ? *p++ : *p;
        if (!closed)
            return NULL;
    }
    p += *p == '\r';
    *after = *p;
    if (*p && *p != ',' && *p != '\n')
        return NULL;
    *at = p + (*p != '\0');
    *to = '\0';
    return from;
}

/* The first line; *file: the column of that name, if there is one. */
static lmb_status read_head(const list *l, char **at, int *file, lmb_error *err)
{
    char after = ',', *c = cell(at, &after);

    if (!c || strcmp(c, "number") != 0)
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "%s: the first column must be called number, as `limbeck monitor --label` writes it", l->path);
    for (int k = 1; after == ','; k++) {
        if (!(c = cell(at, &after)))
            return LMB_FAIL(err, LMB_E_FORMAT, "%s: the names of its columns are no CSV", l->path);
        if (strcmp(c, "file") == 0)
            *file = k;
    }
    return LMB_OK;
}

static lmb_status find_device(list *l, char *name, int *out, lmb_error *err)
{
    for (int k = l->devices; k-- > 0;) /* rows of a device follow each other */
        if (strcmp(l->device[k], name) == 0)
            return *out = k, LMB_OK;
    if (l->devices == DEVICES)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s has samples of more than %d devices: divide it", l->path, DEVICES);
    l->device[ *out = l->devices++] = name;
    return LMB_OK;
}

static lmb_status read_rows(list *l, char *at, int file, lmb_error *err)
{
    static char none[] = "";

    for (int64_t k = 1; *at; k++) {
        char *name = none, after = '\0', *c = cell(&at, &after);
        if (c && !*c && after != ',') /* an empty line */
            continue;
        const char *digits = c ? c : "";
        row *r = &l->row[l->n];
        if (!lmb_scan_count(&digits, DIGITS, &r->number) || *digits)
            return LMB_FAIL(err, LMB_E_FORMAT, "%s: row %lld has no number of a sample in its first column", l->path,
                            (long long)k);
        for (int i = 1; after == ','; i++) {
            if (!(c = cell(&at, &after)))
                return LMB_FAIL(err, LMB_E_FORMAT,
                                "%s: row %lld is no CSV: a quote stands where none may, or has no other", l->path,
                                (long long)k);
            if (i == file)
                lmb_text_clean(name = c);
        }
        LMB_TRY(find_device(l, name, &r->device, err));
        l->n++;
    }
    return l->n ? LMB_OK : LMB_FAIL(err, LMB_E_ARG, "%s names no sample: there is nothing to learn", l->path);
}

static lmb_status read_list(list *l, lmb_error *err)
{
    void *bytes;
    size_t n, lines = 1;
    int file = -1;

    LMB_TRY(lmb_file_read(l->path, MOST, &bytes, &n, err));
    l->text = malloc(n + 1);
    if (l->text) {
        memcpy(l->text, bytes, n);
        l->text[n] = '\0';
        for (const char *p = l->text; (p = strchr(p, '\n')); p++)
            lines++;
        l->row = malloc(sizeof *l->row * lines);
    }
    free(bytes);
    if (!l->row)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the list %s", l->path);
    if (strlen(l->text) != n)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s is no text", l->path);
    char *at = l->text;
    LMB_TRY(read_head(l, &at, &file, err));
    return read_rows(l, at, file, err);
}

/* ---- samples by their indices ---- */

static lmb_status mark_indices(const list *l, int64_t samples, uint8_t *wanted, lmb_error *err)
{
    if (l->devices > 1)
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "%s has samples of %d devices (%.60s, %.60s%s): number 1 of each is another sample, and "
                        "`update.data` has no file names to tell them by: let it be a folder of pictures "
                        "<device>-<number>.png, or write a list for each device",
                        l->path, l->devices, l->device[0], l->device[1], l->devices > 2 ? " ..." : "");
    for (int64_t k = 0; k < l->n; k++) {
        if (l->row[k].number >= (uint64_t)samples)
            return LMB_FAIL(err, LMB_E_FORMAT, "%s: %llu is no number of a sample in 0 .. %lld", l->path,
                            (unsigned long long)l->row[k].number, (long long)samples - 1);
        wanted[l->row[k].number] = 1;
    }
    return LMB_OK;
}

/* ---- samples by the names of their files ---- */

/* What a name says: `device` is not terminated, and empty in 000012.png. */
typedef struct picture {
    const char *device;
    size_t n;
    uint64_t number;
    uint32_t index;
} picture;

/* A file's name without folders and without what follows its last dot. */
static const char *stem(const char *path, size_t *n)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path, *dot = strrchr(name, '.');
    *n = dot ? (size_t)(dot - name) : strlen(name);
    return name;
}

/* "000012", "phone-1-12"; false for any other. */
static bool read_name(const char *path, picture *p)
{
    size_t n;
    const char *name = stem(path, &n), *digits = name + n;
    char number[DIGITS + 1] = "";

    while (digits > name && digits[-1] >= '0' && digits[-1] <= '9')
        digits--;
    size_t length = n - (size_t)(digits - name);
    if (length < 1 || length > DIGITS || (digits != name && (digits[-1] != '-' || digits == name + 1)))
        return false;
    const char *at = memcpy(number, digits, length);
    p->device = name;
    p->n = digits == name ? 0 : (size_t)(digits - name) - 1;
    return lmb_scan_count(&at, DIGITS, &p->number);
}

static int by_sample(const void *a_, const void *b_)
{
    const picture *a = a_, *b = b_;
    int order = a->n != b->n ? (a->n < b->n ? -1 : 1) : memcmp(a->device, b->device, a->n);
    return order ? order : a->number < b->number ? -1 : a->number > b->number;
}

static int64_t read_names(const lmb_dataset *d, picture *out)
{
    int64_t n = 0;

    for (int64_t i = 0; i < d->n; i++)
        if (read_name(d->name(d, i), &out[n]))
            out[n++].index = (uint32_t)i;
    qsort(out, (size_t)n, sizeof *out, by_sample);
    return n;
}

/* Pictures of a device's sample: found[0 .. 1], and how many, at most 2. Its number alone names it if all are of one
 * device. */
static int find_pictures(const list *l, const row *r, const picture *all, int64_t n, const picture *found[2])
{
    picture want = { .number = r->number };
    int count = 0;

    want.device = stem(l->device[r->device], &want.n);
    for (int plain = 0; plain < 2; plain++) {
        if (plain && (l->devices > 1 || !want.n))
            break;
        if (plain)
            want.n = 0;
        const picture *p = n ? bsearch(&want, all, (size_t)n, sizeof *all, by_sample) : NULL;
        while (p && p > all && by_sample(p - 1, &want) == 0)
            p--;
        for (; p && p < all + n && by_sample(p, &want) == 0 && count < 2; p++)
            found[count++] = p;
    }
    return count;
}

/* Sample 12 as its picture may be called. */
static void say_name(const list *l, const row *r, char out[LABEL])
{
    size_t n;
    const char *device = stem(l->device[r->device], &n);

    if (l->devices == 1)
        n = 0; /* its number will do */
    snprintf(out, LABEL, "%.*s%s%llu", (int)(n < LABEL / 2 ? n : LABEL / 2), device, n ? "-" : "",
             (unsigned long long)r->number);
}

/* Two files of one name in two folders. */
static lmb_status check_devices(const list *l, lmb_error *err)
{
    for (int a = 0; a < l->devices; a++)
        for (int b = a + 1; b < l->devices; b++) {
            size_t n, m;
            const char *one = stem(l->device[a], &n), *other = stem(l->device[b], &m);
            if (n == m && memcmp(one, other, n) == 0)
                return LMB_FAIL(err, LMB_E_FORMAT,
                                "%s has samples of two devices of one name, %.80s and %.80s: give one of the files "
                                "another name and let `limbeck monitor` write the list again",
                                l->path, l->device[a], l->device[b]);
        }
    return LMB_OK;
}

static lmb_status mark_pictures(const list *l, const lmb_dataset *d, const picture *all, int64_t n, uint8_t *wanted,
                                lmb_error *err)
{
    char missing[SHOWN * LABEL] = "", name[LABEL], first[LABEL] = "";
    int64_t lost = 0, shown = 0;

    LMB_TRY(check_devices(l, err));
    for (int64_t k = 0; k < l->n; k++) {
        const picture *found[2];
        int count = find_pictures(l, &l->row[k], all, n, found);
        say_name(l, &l->row[k], name);
        if (count == 2)
            return LMB_FAIL(err, LMB_E_FORMAT,
                            "%s: sample %s is two pictures of `update.data`, %.80s and %.80s: leave one", l->path, name,
                            d->name(d, found[0]->index), d->name(d, found[1]->index));
        if (count == 1) {
            wanted[found[0]->index] = 1;
            continue;
        }
        if (lost++ == 0)
            memcpy(first, name, sizeof first);
        if (shown < SHOWN && strlen(missing) < LABEL)
            snprintf(missing + strlen(missing), LABEL + 2, "%s%s", shown++ ? ", " : "", name);
    }
    return lost ? LMB_FAIL(err, LMB_E_FORMAT,
                           "%s: %lld of its %lld samples have no picture in `update.data`: %s%s (the first would be "
                           "%s.png); add them, or take their rows out",
                           l->path, (long long)lost, (long long)l->n, missing, lost > shown ? " ..." : "", first)
                : LMB_OK;
}

static lmb_status mark(const list *l, const lmb_dataset *d, uint8_t *wanted, lmb_error *err)
{
    if (!d->name)
        return mark_indices(l, d->n, wanted, err);
    picture *all = malloc(sizeof *all * (size_t)(d->n + 1));
    if (!all)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for the names of %lld pictures", (long long)d->n);
    lmb_status st = mark_pictures(l, d, all, read_names(d, all), wanted, err);
    free(all);
    return st;
}

/* ---- the whole ---- */

static lmb_status choose(const char *path, const lmb_dataset *d, list *l, uint8_t *wanted, uint32_t *out,
                         int64_t *count, lmb_error *err)
{
    l->path = path;
    LMB_TRY(read_list(l, err));
    LMB_TRY(mark(l, d, wanted, err));
    *count = 0;
    for (int64_t i = 0; i < d->n; i++)
        if (wanted[i])
            out[(*count)++] = (uint32_t)i;
    return LMB_OK;
}

lmb_status lmbi_update_list(const char *path, const lmb_dataset *d, uint32_t **out, int64_t *count, lmb_error *err)
{
    list *l = calloc(1, sizeof *l);
    uint8_t *wanted = calloc(1, (size_t)d->n);
    uint32_t *index = malloc(sizeof *index * (size_t)d->n);
    lmb_status st = l && wanted && index ? choose(path, d, l, wanted, index, count, err)
                                         : LMB_FAIL(err, LMB_E_NOMEM, "no memory for a list");

    if (l) {
        free(l->text);
        free(l->row);
    }
    free(l);
    free(wanted);
    if (st == LMB_OK)
        *out = index;
    else
        free(index);
    return st;
}
