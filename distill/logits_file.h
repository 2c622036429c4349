/* distill/logits_file.h - the file of logits.h, as its writer and its reader share it. Private to this folder.
 *
 *   0    "LMBLOGIT", u32 version, u32 classes, i64 samples of an epoch, i64 rows of a chunk
 *   32   key [32]
 *   64   hash of the 64 bytes before [32]; zeros to 128
 *   128  chunks: f32 [1024, classes] (the last of an epoch is filled up with zeros), then hash of key, number, rows
 *        [32]
 *
 * Numbers and floats are the host's: a file of a host with other bytes has another version number, and is made anew.
 */
#ifndef LMB_DISTILL_LOGITS_FILE_H
#define LMB_DISTILL_LOGITS_FILE_H

#include "core/base/hash.h"
#include "distill/logits.h"

enum { LMBI_LOGITS_HEAD = 128, LMBI_LOGITS_ROWS = 1024, LMBI_LOGITS_PATH = 1100 };

typedef struct lmbi_logits_file {
    char path[LMBI_LOGITS_PATH];
    lmb_hash key;
    bool augmented;
    int classes;
    int64_t samples, epochs;    /* epochs that the file tells apart: 1 where nothing is augmented */
    int64_t versions;           /* after which epochs repeat; 0: they do not                      */
    int64_t per_epoch, chunks;  /* chunks of an epoch, and of all                                 */
    size_t chunk_bytes;         /* rows and hash                                                  */
    uint64_t bytes;             /* of the whole file                                              */
} lmbi_logits_file;

/* Name and shape of the file for a key. */
LMB_MUST_CHECK lmb_status lmbi_logits_describe(const char *folder, const lmb_logits_key *k, lmbi_logits_file *f,
                                               lmb_error *err);
uint64_t lmbi_logits_offset(const lmbi_logits_file *f, int64_t chunk);
void lmbi_logits_hash(const lmbi_logits_file *f, int64_t chunk, const void *rows, lmb_hash *out);
/* Which chunks are there: [chunks] 1 or 0. A file that is not there, or is not one, has none.
 *   errors  E_IO only for one that can not be read */
LMB_MUST_CHECK lmb_status lmbi_logits_scan(const lmbi_logits_file *f, uint8_t *there, bool *sound, lmb_error *err);
/* A new file without chunks, in place of whatever was there. */
LMB_MUST_CHECK lmb_status lmbi_logits_create(const lmbi_logits_file *f, lmb_error *err);

/* Compute the chunks that `there` [chunks] lacks, on all ranks; rank 0 writes. */
LMB_MUST_CHECK lmb_status lmbi_logits_fill(const lmbi_logits_file *f, const lmb_logits_key *k, const uint8_t *there,
                                           int threads, lmb_comm *comm, const lmb_logits_watch *watch, lmb_error *err);

#endif
