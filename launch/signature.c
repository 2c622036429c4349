/* launch/signature.c - see signature.h. */
#include "launch/signature.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/base/file.h"
#include "core/edge/lmb.h"

enum { MOST = 1 << 28 };

bool lmb_signature_is_in(const char *path)
{
    const uint8_t *signature = NULL;
    size_t n, covered, bytes;
    void *file;

    if (lmb_file_read(path, MOST, &file, &n, NULL) != LMB_OK)
        return false;
    bool found = lmb_edge_signature(file, n, &covered, &signature, &bytes, NULL, 0) == LMB_EDGE_OK && signature;
    free(file);
    return found;
}

void lmb_signature_gone(bool was_signed, const char *to)
{
    if (was_signed)
        fprintf(
            stderr,
            "%s has no signature any more: the one that there was is over other bytes; sign it again: `limbeck sign "
            "%s --key FILE --release N`\n",
            to, to);
}
