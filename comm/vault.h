/* comm/vault.h - memory for secrets that live longer than a call: never in the swap file or a core dump, wiped when
 * given back.
 *
 * Idea: the system locks whole pages, and unlocks them whole: a secret that is freed must not take the lock off its
 * neighbour. So secrets do not lie on the heap. One of a kind has pages of its own (lmb_secret_new, libsodium's guarded
 * allocation); many of a kind share pages in which there is nothing else (lmb_vault), and these stay locked until all
 * go.
 *
 * Where the system's limit is too low a secret is as safe as the rest of the memory, and nothing fails: lmb_secret_room
 * says so, once, when a program begins. Keys that a function makes and forgets lie on its stack; they are wiped.
 *
 *   threads  distinct vaults are independent
 */
#ifndef LMB_COMM_VAULT_H
#define LMB_COMM_VAULT_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* n zeroed bytes on locked pages of their own; NULL: no memory. lmb_secret_free wipes; NULL is a no-op. */
void *lmb_secret_new(size_t n);
void lmb_secret_free(void *secret);

typedef struct lmb_vault lmb_vault;

/* Places of `bytes` each. No page is taken before the first one is. */
LMB_MUST_CHECK lmb_status lmb_vault_create(size_t bytes, lmb_vault **out, lmb_error *err);
void lmb_vault_destroy(lmb_vault *v); /* all places are wiped; NULL is a no-op */
/* A zeroed place, aligned as malloc's; NULL: no memory. */
void *lmb_vault_take(lmb_vault *v);
/* Wiped, and free for the next one. */
void lmb_vault_give(lmb_vault *v, void *place);

/* Can n bytes be locked, beside what is locked already? If not, `sentence` says what to change. */
enum { LMB_SECRET_SENTENCE = 240 };
bool lmb_secret_room(size_t n, char sentence[LMB_SECRET_SENTENCE]);

#ifdef __cplusplus
}
#endif
#endif
