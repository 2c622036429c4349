/* distill/quantize/packed_file.c - see packed_file.h. */
#include "distill/quantize/packed_file.h"

#include <stdlib.h>

#include "core/base/file.h"
#include "core/edge/packed.h"

enum { MOST = 1 << 28 };

lmb_status lmb_packed_open(const void *file, size_t n, void **out, size_t *bytes, lmb_error *err)
{
    char why[200] = "";
    size_t plain;

    *out = NULL;
    if (lmb_edge_unpacked_bytes(file, n, &plain, why, sizeof why) != LMB_EDGE_OK)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s", why);
    if (!plain)
        return LMB_OK;
    if (plain > MOST)
        return LMB_FAIL(err, LMB_E_FORMAT, "%zu bytes unpack to %zu; at most %d are believed", n, plain, MOST);
    void *memory = malloc(plain);
    if (!memory)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to unpack a model of %zu bytes", plain);
    if (lmb_edge_unpack(file, n, memory, plain, why, sizeof why) != LMB_EDGE_OK) {
        free(memory);
        return LMB_FAIL(err, LMB_E_FORMAT, "%s", why);
    }
    *out = memory;
    *bytes = plain;
    return LMB_OK;
}

lmb_status lmb_packed_read(const char *path, void **out, size_t *n, bool *packed, lmb_error *err)
{
    void *plain;
    size_t bytes;

    LMB_TRY(lmb_file_read(path, MOST, out, n, err));
    lmb_status st = lmb_packed_open(*out, *n, &plain, &bytes, err);
    if (st != LMB_OK) {
        free(*out);
        *out = NULL;
        return lmb_error_context(err, "%s", path);
    }
    if (packed)
        *packed = plain != NULL;
    if (plain) {
        free(*out);
        *out = plain;
        *n = bytes;
    }
    return LMB_OK;
}

lmb_status lmb_packed_make(lmb_str *file, lmb_error *err)
{
    lmb_edge_buffer packed = { NULL, 0, 0 };
    char why[200] = "";

    if (lmb_edge_pack(file->text, file->n, 0, &packed, why, sizeof why) != LMB_EDGE_OK)
        return LMB_FAIL(err, LMB_E_FORMAT, "the model can not be packed: %s", why);
    lmb_str_clear(file);
    lmb_str_add_n(file, (const char *)packed.data, packed.size);
    free(packed.data);
    return lmb_str_check(file, err);
}
