/* distill/ensemble_file.c - ensembles that know of each other: sums of answers in files, see ensemble.h.
 *
 *   0   "LMBSUMS1", i64 samples, i64 classes, i64 members
 *   32  f64 [samples, classes] sums of the members' logits
 *
 * Numbers are the host's. Of members nothing else is in it, so that they may be of any architecture.
 */
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"
#include "distill/ensemble_parts.h"

enum { PATH = 4096 };
typedef struct head { char magic[8]; int64_t samples, classes, members; } head;
static const char magic[8] = { 'L', 'M', 'B', 'S', 'U', 'M', 'S', '1' };

lmb_status lmb_ensemble_leave(const lmb_ensemble *e, const char *path, lmb_error *err)
{
    head h = { .samples = e->samples->n, .classes = e->classes, .members = e->members };
    size_t part = (size_t)e->samples->n * (size_t)e->classes * sizeof *e->sum;
    char *data = malloc(sizeof h + part);

    if (!data)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to leave the answers of an ensemble");
    memcpy(h.magic, magic, sizeof magic);
    memcpy(data, &h, sizeof h);
    memcpy(data + sizeof h, e->sum, part);
    lmb_status st = lmb_file_write(path, data, sizeof h + part, err);
    free(data);
    return st;
}

static lmb_status add_file(lmb_ensemble *e, const char *path, lmb_error *err)
{
    size_t n = (size_t)e->samples->n * (size_t)e->classes, want = sizeof(head) + n * sizeof *e->sum, bytes;
    lmb_status st = LMB_OK;
    void *data;
    head h;

    LMB_TRY(lmb_file_read(path, want, &data, &bytes, err));
    memset(&h, 0, sizeof h);
    memcpy(&h, data, bytes < sizeof h ? bytes : sizeof h);
    const double *sum = (const double *)(const void *)((const char *)data + sizeof h);
    bool sound = bytes == want && memcmp(h.magic, magic, sizeof magic) == 0 && h.samples == e->samples->n &&
                 h.classes == e->classes && h.members > 0 && h.members < INT32_MAX - e->members;
    for (size_t i = 0; sound && i < n; i++)
        sound = isfinite(sum[i]);
    if (!sound)
        st = LMB_FAIL(err, LMB_E_FORMAT,
                      "%s does not hold answers to %" PRId64
                      " samples of %d classes; those who exchange them need the same samples",
                      path, e->samples->n, e->classes);
    for (size_t i = 0; st == LMB_OK && i < n; i++)
        e->sum[i] += sum[i];
    e->members += st == LMB_OK ? (int)h.members : 0;
    free(data);
    return st;
}

static int is_answers(const struct dirent *d)
{
    size_t n = strlen(d->d_name), end = strlen(LMB_ENSEMBLE_FILE);
    return n > end && strcmp(d->d_name + n - end, LMB_ENSEMBLE_FILE) == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b) { return strcmp((*a)->d_name, (*b)->d_name); }

lmb_status lmb_ensemble_join(lmb_ensemble *e, const char *folder, const char *own, lmb_error *err)
{
    struct dirent **entry = NULL;
    int n = scandir(folder, &entry, is_answers, by_name);
    lmb_status st = n < 0 ? LMB_FAIL(err, LMB_E_IO, "%s: can not be read as a folder", folder) : LMB_OK;
    char path[PATH];

    for (int i = 0; i < n; i++) {
        if (st == LMB_OK && !(own && strcmp(entry[i]->d_name, own) == 0))
            st = lmb_path_join(path, sizeof path, folder, entry[i]->d_name, err);
        if (st == LMB_OK && !(own && strcmp(entry[i]->d_name, own) == 0))
            st = add_file(e, path, err);
        free(entry[i]);
    }
    free(entry);
    return st;
}
