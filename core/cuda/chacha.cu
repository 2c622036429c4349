/* core/cuda/chacha.cu - ChaCha20 keystreams added to a vector.
 *
 * Idea: a thread makes one block of 64 bytes of some of the keys' streams, sums them in registers, and adds the sum
 * to its words of the vector. Addition in the ring is exact in any order, so that long vectors and many keys alike
 * fill the GPU: keys are dealt to as many threads as it takes, which add atomically, and the result has the same bits
 * whatever the cut.
 *   source   RFC 8439, 2.3 and 2.4
 */
#include "core/cuda/ops/grid.h"

namespace {

enum { WORDS = 16, KEYS_A_THREAD = 8, BLOCKS_THAT_FILL = 1 << 18 };

LMB_BODY uint32_t turn(uint32_t x, int n) { return x << n | x >> (32 - n); }

LMB_BODY void quarter(uint32_t &a, uint32_t &b, uint32_t &c, uint32_t &d)
{
    a += b, d = turn(d ^ a, 16);
    c += d, b = turn(b ^ c, 12);
    a += b, d = turn(d ^ a, 8);
    c += d, b = turn(b ^ c, 7);
}

LMB_BODY void keystream(const uint32_t *key, uint32_t counter, uint32_t x[WORDS])
{
    const uint32_t begin[WORDS] = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574, key[0], key[1], key[2], key[3],
                                    key[4],     key[5],     key[6],     key[7],     counter, 0,     0,      0 };
    for (int i = 0; i < WORDS; i++)
        x[i] = begin[i];
    for (int i = 0; i < 10; i++) {
        quarter(x[0], x[4], x[8], x[12]), quarter(x[1], x[5], x[9], x[13]);
        quarter(x[2], x[6], x[10], x[14]), quarter(x[3], x[7], x[11], x[15]);
        quarter(x[0], x[5], x[10], x[15]), quarter(x[1], x[6], x[11], x[12]);
        quarter(x[2], x[7], x[8], x[13]), quarter(x[3], x[4], x[9], x[14]);
    }
    for (int i = 0; i < WORDS; i++)
        x[i] += begin[i];
}

LMB_BODY void add_to(uint32_t *at, uint32_t v)
{
#ifdef __CUDA_ARCH__
    atomicAdd(at, v);
#else
    *at += v;
#endif
}

LMB_BODY void add_to(uint64_t *at, uint64_t v)
{
#ifdef __CUDA_ARCH__
    atomicAdd((unsigned long long *)at, (unsigned long long)v);
#else
    *at += v;
#endif
}

template <class T> struct sum_of_streams {
    T *numbers;
    uint64_t n;
    const uint32_t *key, *subtract;
    uint32_t keys, a_thread, blocks;

    LMB_BODY void operator()(int i) const
    {
        constexpr int per = WORDS * 4 / (int)sizeof(T), words = sizeof(T) / 4;
        uint32_t block = (uint32_t)i % blocks, first = (uint32_t)i / blocks * a_thread;
        uint32_t last = keys - first < a_thread ? keys : first + a_thread, x[WORDS];
        uint64_t at = (uint64_t)block * per;
        T sum[per] = {};

        for (uint32_t k = first; k < last; k++) {
            T ones = subtract[k] ? ~(T)0 : 0; /* subtracting is adding the two's complement */
            keystream(key + 8 * (size_t)k, block, x);
            for (int j = 0; j < per; j++) {
                T v = x[j * words];
                if (words == 2)
                    v |= (T)((uint64_t)x[j * words + words - 1] << 32);
                sum[j] += (v ^ ones) - ones;
            }
        }
        for (int j = 0; j < per && at + j < n; j++)
            add_to(numbers + at + j, sum[j]);
    }
};

template <class T> lmb_status add(const lmb_chacha_job *j, const lmb_run *r, lmb_error *err)
{
    uint64_t blocks = (j->n * sizeof(T) + 63) / 64;
    uint32_t a_thread = KEYS_A_THREAD;

    if (blocks > INT32_MAX)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "a vector of %llu numbers is longer than masks made at once on a GPU",
                        (unsigned long long)j->n);
    /* One thread for all keys where the blocks fill the GPU by themselves, or where threads could not be counted. */
    uint64_t parts = (j->keys + a_thread - 1) / a_thread;
    if (blocks >= BLOCKS_THAT_FILL || blocks * parts > INT32_MAX)
        a_thread = j->keys, parts = 1;
    sum_of_streams<T> f = { (T *)j->numbers, j->n, j->key, j->subtract, j->keys, a_thread, (uint32_t)blocks };
    return lmb::each(r, (int64_t)(blocks * parts), f, err);
}

} // namespace

lmb_status lmbi_cuda_chacha_add(const lmb_chacha_job *j, lmb_cuda_queue *q, lmb_error *err)
{
    lmb_run r = {};

    r.queue = q;
    if (!j->n || !j->keys)
        return LMB_OK;
    return j->bits == 32 ? add<uint32_t>(j, &r, err) : add<uint64_t>(j, &r, err);
}
