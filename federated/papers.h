/* federated/papers.h - what the journal keeps besides rounds and clients: the federation's name, the signed roster, and
 * a change of the server's key that is under way.
 *
 * Idea: papers are few, small and read as a whole: a name and bytes. People change them beside the running server, as
 * they change clients (members.h).
 *
 * Roster: `export` writes the approved clients with the next version; the admin signs that anywhere; `import` takes it
 * back when the signature is the admin's and what it says is what this federation has.
 *
 * Secure sums are numbered; the last number is a paper too, so that a state folder that is carried elsewhere, or loses
 * another file, goes on counting where it was.
 *
 * Server key: `rotate` makes a second key beside the first. Until the overlap ends the server answers to both and tells
 * each client that comes, over the channel of the old key, which one is next; then the new key takes the old one's
 * place. A client that did not come in that time needs a new invite.
 */
#ifndef LMB_FEDERATED_PAPERS_H
#define LMB_FEDERATED_PAPERS_H

#include "core/base/str.h"
#include "federated/members.h"
#include "federated/secagg/roster.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Drawn when the journal was made; the same as long as it lives. */
LMB_MUST_CHECK lmb_status lmb_journal_federation(lmb_journal *j, lmb_hash *out, lmb_error *err);

/* The roster that the admin would sign now: appended to `out`, unsigned.  errors  E_ARG nobody is approved */
LMB_MUST_CHECK lmb_status lmb_journal_roster_export(lmb_journal *j, lmb_str *out, lmb_error *err);
/* E_DENIED not signed by the admin, or of another federation; E_ARG not newer than the one that is there, or it names
 * a client that is not approved here under this key. */
LMB_MUST_CHECK lmb_status lmb_journal_roster_import(lmb_journal *j, const void *bytes, size_t n,
                                                    const uint8_t admin_public[LMB_SIGN_PUBLIC], lmb_error *err);
/* Whose signature counts: the admin of the last roster that was imported, or that the server was configured with.
 * false: nobody's yet. */
LMB_MUST_CHECK lmb_status lmb_journal_admin(lmb_journal *j, uint8_t key[LMB_SIGN_PUBLIC], bool *known, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_journal_set_admin(lmb_journal *j, const uint8_t key[LMB_SIGN_PUBLIC], lmb_error *err);
/* The signed roster, malloc'd; *bytes NULL: there is none yet. */
LMB_MUST_CHECK lmb_status lmb_journal_roster(lmb_journal *j, void **bytes, size_t *n, lmb_error *err);

/* The number of the last secure sum, 0: there was none. A number that is damaged would be one that clients have
 * answered. errors  E_FORMAT */
LMB_MUST_CHECK lmb_status lmb_journal_last_sum(lmb_journal *j, uint64_t *number, lmb_error *err);
/* One more, written before it is given: no number is ever used twice. */
LMB_MUST_CHECK lmb_status lmb_journal_next_sum(lmb_journal *j, uint64_t *number, lmb_error *err);

/* When the change of the server's key ends, seconds since 1970; 0: none is under way. */
LMB_MUST_CHECK lmb_status lmb_journal_rotation(lmb_journal *j, int64_t *ends, lmb_error *err);
LMB_MUST_CHECK lmb_status lmb_journal_set_rotation(lmb_journal *j, int64_t ends, lmb_error *err);

#ifdef __cplusplus
}
#endif
#endif
