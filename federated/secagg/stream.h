/* federated/secagg/stream.h - numbers nobody can predict without the seed: ChaCha20 as a generator.
 *
 * Idea: whatever a party of a secure sum draws is a function of one seed of 32 bytes, so a test that fixes the seed
 * fixes the whole conversation; in real runs the seed comes from the system. Never core/base/random.h here: its
 * numbers are for experiments, not for secrets.
 *
 *   source   RFC 8439, by libsodium
 *   threads  distinct streams are independent
 */
#ifndef LMB_FEDERATED_SECAGG_STREAM_H
#define LMB_FEDERATED_SECAGG_STREAM_H

#include <stddef.h>
#include <stdint.h>

enum { LMB_SECAGG_SEED = 32 };

typedef struct lmbi_stream {
    uint8_t key[LMB_SECAGG_SEED];
    uint64_t word[64]; /* drawn ahead */
    uint32_t used, block;
} lmbi_stream;

void lmbi_stream_open(lmbi_stream *s, const uint8_t seed[LMB_SECAGG_SEED]);
uint64_t lmbi_stream_u64(lmbi_stream *s);
uint32_t lmbi_stream_below(lmbi_stream *s, uint32_t bound); /* [0, bound), without bias; bound > 0 */
void lmbi_stream_close(lmbi_stream *s);                     /* wipes it */

#endif
