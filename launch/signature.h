/* launch/signature.h - who changes a signed .lmb says that its signature has gone: it was over other bytes. */
#ifndef LMB_LAUNCH_SIGNATURE_H
#define LMB_LAUNCH_SIGNATURE_H

#include <stdbool.h>

/* Before the change: does this file have a signature? Packed or plain; no when it cannot be read. */
bool lmb_signature_is_in(const char *path);

/* After it, on stderr, if it had one: that `to` has none, and how it gets one. */
void lmb_signature_gone(bool was_signed, const char *to);

#endif
