/* tests/comm/played_nccl_parts.h - sums of which each rank keeps a part, and their parts put together, of the played
 * NCCL (played_nccl_module.c, which alone includes it). `limbeck doctor` asks for them, a training does not, so they are
 * not recorded.
 */
#ifndef LMB_TESTS_COMM_PLAYED_NCCL_PARTS_H
#define LMB_TESTS_COMM_PLAYED_NCCL_PARTS_H

static int sum_scatter(const void *from, void *to, size_t n_each, lmb_nccl_type t, void *comm, void *stream)
{
    const group *g = comm;
    size_t bytes = n_each * bytes_of(t);

    if (recorded(stream))
        return REFUSED;
    unsigned char *whole = malloc(bytes * (size_t)g->size + 1);
    int code = whole ? do_it(stream) : NO_FILE;
    code = code == LMB_NCCL_OK ? work(g, from, whole, n_each * (size_t)g->size, t, LMB_NCCL_ADD, -1, false) : code;
    if (code == LMB_NCCL_OK)
        memcpy(to, whole + bytes * (size_t)g->rank, bytes);
    free(whole);
    return code;
}

static int gather(const void *from, void *to, size_t n_each, lmb_nccl_type t, void *comm, void *stream)
{
    const group *g = comm;

    if (recorded(stream))
        return REFUSED;
    int code = do_it(stream);
    for (int r = 0; r < g->size && code == LMB_NCCL_OK; r++)
        code = work(g, from, (unsigned char *)to + (size_t)r * n_each * bytes_of(t), n_each, t, LMB_NCCL_ADD, r, true);
    return code;
}

#endif
