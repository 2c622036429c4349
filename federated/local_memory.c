/* federated/local_memory.c - see local_memory.h. A head, then both vectors. */
#include "federated/local_memory.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/file.h"

typedef struct kept_head { uint64_t magic, round, values; } kept_head;
static const uint64_t kept_magic = 0x31746d656d626d6c; /* "lmbmemt1" */

lmb_status lmbi_memory_read(const char *path, size_t values, uint64_t round, float *memory, lmb_error *err)
{
    size_t bytes, want = sizeof(kept_head) + 2 * values * sizeof *memory;
    kept_head head;
    void *data;

    memset(memory, 0, values * sizeof *memory);
    if (!path || !lmb_file_exists(path))
        return LMB_OK;
    LMB_TRY(lmb_file_read(path, want, &data, &bytes, err));
    memcpy(&head, data, bytes < sizeof head ? bytes : sizeof head);
    bool whole = bytes == want && head.magic == kept_magic && head.values == values;
    if (whole && head.round <= round) /* of a later round: the federation has begun anew */
        memcpy(memory, (const char *)data + sizeof head + (head.round == round ? 0 : values * sizeof *memory),
               values * sizeof *memory);
    free(data);
    return whole ? LMB_OK
                 : LMB_FAIL(err, LMB_E_FORMAT, "%s is damaged or of another model; remove it to begin anew", path);
}

lmb_status lmbi_memory_write(const char *path, size_t values, uint64_t round, const float *before, const float *after,
                             lmb_error *err)
{
    kept_head head = { kept_magic, round, values };
    size_t part = values * sizeof *after;
    char *data = malloc(sizeof head + 2 * part);

    if (!data)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory to keep %zu values", values);
    memcpy(data, &head, sizeof head);
    memcpy(data + sizeof head, before, part);
    memcpy(data + sizeof head + part, after, part);
    lmb_status st = lmb_file_write(path, data, sizeof head + 2 * part, err);
    free(data);
    return st;
}
