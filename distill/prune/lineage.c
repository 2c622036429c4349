/* distill/prune/lineage.c - see lineage.h. */
#include "distill/prune/lineage.h"

#include <stdlib.h>
#include <string.h>

void lmbi_gather(const void *from, const lmb_shape *was, const lmb_kept *kept, size_t size, void *to)
{
    int64_t at[LMB_MAX_DIMS] = { 0 }, n[LMB_MAX_DIMS], left = 1;
    char *next = to;

    for (int a = 0; a < was->n; a++) {
        n[a] = kept[a].n < 0 ? was->d[a] : kept[a].n;
        left *= n[a];
    }
    for (; left > 0; left--, next += size) {
        int64_t i = 0;
        for (int a = 0; a < was->n; a++)
            i = i * was->d[a] + (kept[a].n < 0 ? at[a] : kept[a].index[at[a]]);
        memcpy(next, (const char *)from + (size_t)i * size, size);
        for (int a = was->n - 1; a >= 0 && ++at[a] == n[a]; a--)
            at[a] = 0;
    }
}

void lmb_lineage_carry(const lmb_lineage *l, const float *from, float *to)
{
    for (int i = 0; i < l->n; i++)
        lmbi_gather(from + l->row[i].from, &l->row[i].was, l->row[i].kept, sizeof *from, to + l->row[i].to);
}

void lmb_lineage_destroy(lmb_lineage *l)
{
    for (int i = 0; l && i < l->n; i++)
        for (int a = 0; a < LMB_MAX_DIMS; a++)
            free(l->row[i].kept[a].index);
    if (l)
        free(l->row);
    free(l);
}
