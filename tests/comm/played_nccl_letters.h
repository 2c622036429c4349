/* tests/comm/played_nccl_letters.h - letters of the played NCCL (played_nccl_module.c, which alone includes it).
 *
 * What is received lies aside until something waits for its stream, so that numbers are old where that is missing. A
 * letter has been sent when it was taken, as with large ones of NCCL: who sends and who receives must not both wait.
 * Letters are not recorded.
 */
#ifndef LMB_TESTS_COMM_PLAYED_NCCL_LETTERS_H
#define LMB_TESTS_COMM_PLAYED_NCCL_LETTERS_H

enum { LETTERS = 64 };

/* In a group of calls, then on its way. */
typedef struct letter {
    group *g;
    const void *stream;
    int from, to;
    const unsigned char *give;
    unsigned char *get, *aside; /* aside: [n] of get, until somebody waits */
    size_t n, done;
} letter;

static letter letters[LETTERS], arrived[LETTERS];
static int n_letters, n_arrived, depth;

static void deliver(const void *stream)
{
    int left = 0;

    for (int i = 0; i < n_arrived; i++) {
        if (arrived[i].stream != stream) {
            arrived[left++] = arrived[i];
            continue;
        }
        memcpy(arrived[i].get, arrived[i].aside, arrived[i].n);
        free(arrived[i].aside);
    }
    n_arrived = left;
}

/* As far as it goes now. */
static void go_on(letter *l)
{
    box *b = &l->g->file->box[l->from][l->to];
    size_t left = l->n - l->done, some = left < BOX ? left : BOX;

    if (l->give && !atomic_load(&b->full) && left) {
        memcpy(b->bytes, l->give + l->done, some);
        l->done += some;
        atomic_store(&b->full, 1);
    } else if (l->get && atomic_load(&b->full) && left) {
        memcpy(l->aside + l->done, b->bytes, some);
        l->done += some;
        atomic_store(&b->full, 0);
    }
}

static bool gone(const letter *l)
{
    return l->done == l->n && (l->get || !atomic_load(&l->g->file->box[l->from][l->to].full));
}

static int send_all(void)
{
    double start = now();

    for (bool all = false; !all;) {
        all = true;
        for (int i = 0; i < n_letters; i++) {
            go_on(&letters[i]);
            all = all && gone(&letters[i]);
        }
        if (!all && !patient(letters[0].g, start))
            return LMB_NCCL_BUSY;
    }
    for (int i = 0; i < n_letters; i++)
        if (letters[i].get) {
            if (n_arrived == LETTERS)
                deliver(letters[i].stream);
            arrived[n_arrived++] = letters[i];
        }
    n_letters = 0;
    return LMB_NCCL_OK;
}

static int group_begin(void) { return depth++, code_now ? LMB_NCCL_BUSY : LMB_NCCL_OK; }
static int group_end(void)
{
    if (--depth || code_now)
        return code_now ? LMB_NCCL_BUSY : LMB_NCCL_OK;
    return send_all();
}

/* One letter of a rank to another in a group. */
static int put_letter(letter l)
{
    if (n_letters == LETTERS)
        return NO_FILE;
    if (l.get && !(l.aside = malloc(l.n + 1)))
        return NO_FILE;
    letters[n_letters++] = l;
    return LMB_NCCL_OK;
}

static int exchange(const void *from, int peer_to, void *to, int peer_from, size_t n, lmb_nccl_type t, void *comm,
                    void *stream)
{
    group *g = comm;
    size_t bytes = n * bytes_of(t);

    if (recorded(stream))
        return REFUSED;
    int code = group_begin();
    if (code == LMB_NCCL_OK && peer_to >= 0)
        code = put_letter((letter){ g, stream, g->rank, peer_to, from, NULL, NULL, bytes, 0 });
    if (code == LMB_NCCL_OK && peer_from >= 0)
        code = put_letter((letter){ g, stream, peer_from, g->rank, NULL, to, NULL, bytes, 0 });
    int ended = group_end();
    return code == LMB_NCCL_OK ? ended : code;
}

#endif
