/* core/store/hdf5.c - stores as HDF5 files, for checkpoints that h5py, MATLAB or HDFView can look into.
 *
 *   tensors   datasets, contiguous and little-endian, in groups as their names say; f16, bf16 and bool lie in
 *             u16 and u8 with an attribute "dtype" naming the type
 *   texts     scalar datasets of a fixed-length UTF-8 string (attributes end at 64 KiB)
 *   numbers   attributes of the root group, i64 or f64, under their whole name
 *   version   root attribute "limbeck.format" = 1
 *   seal      64 bytes behind the end of the HDF5 data, where HDF5 does not look: "limbeck-hdf5-end", u64 bytes of
 *             HDF5 data, u64 zero, BLAKE2b-256 of all before. It is checked before HDF5 sees the file, because
 *             HDF5 itself can crash on flipped bits in its metadata. A program that changes the file in place
 *             drops the seal, and the file is then refused.
 *
 *   source   HDF5 1.10 reference manual
 *   threads  the library keeps global state: one caller at a time in a process
 *   note     the seal finds damage, not malice: open only files of people you trust; the wire speaks bundles
 */
#include "core/store/hdf5.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/base/file.h"
#include "core/base/hash.h"

/* ---- errors: HDF5 keeps its own stack; take one sentence from it, print nothing ------------------ */

lmbi_h5_quiet lmbi_h5_silence(void)
{
    lmbi_h5_quiet q = { NULL, NULL };
    H5Eget_auto2(H5E_DEFAULT, &q.fn, &q.ctx);
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    return q;
}

void lmbi_h5_restore(lmbi_h5_quiet q) { H5Eset_auto2(H5E_DEFAULT, q.fn, q.ctx); }

static herr_t first_reason(unsigned n, const H5E_error2_t *e, void *out)
{
    if (n == 0)
        *(const char **)out = e->desc;
    return 0;
}

lmb_status lmbi_h5_fail(lmb_error *err, lmb_status st, const char *verb, const char *name)
{
    const char *why = NULL;
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, first_reason, &why);
    LMB_FAIL(err, st, "HDF5 cannot %s '%s'%s%.180s", verb, name, why ? ": " : "", why ? why : "");
    H5Eclear2(H5E_DEFAULT);
    return st;
}

/* ---- types ------------------------------------------------------------------------------------- */

hid_t lmbi_h5_type(lmb_dtype t)
{
    switch (t) {
    case LMB_F32: return H5T_IEEE_F32LE;
    case LMB_F64: return H5T_IEEE_F64LE;
    case LMB_S8: return H5T_STD_I8LE;
    case LMB_S16: return H5T_STD_I16LE;
    case LMB_S32: return H5T_STD_I32LE;
    case LMB_S64: return H5T_STD_I64LE;
    case LMB_U8:
    case LMB_BOOL: return H5T_STD_U8LE;
    case LMB_U16:
    case LMB_F16:
    case LMB_BF16: return H5T_STD_U16LE;
    case LMB_U32: return H5T_STD_U32LE;
    case LMB_U64: return H5T_STD_U64LE;
    case LMB_DTYPE_COUNT: break;
    }
    return H5I_INVALID_HID;
}

bool lmbi_h5_needs_name(lmb_dtype t) { return t == LMB_BOOL || t == LMB_F16 || t == LMB_BF16; }

/* ---- the seal ---------------------------------------------------------------------------------- */

enum { SEAL = LMBI_H5_SEAL, SEAL_HEAD = 32, CHUNK = 65536 };
static const char seal_magic[16] = { 'l', 'i', 'm', 'b', 'e', 'c', 'k', '-', 'h', 'd', 'f', '5', '-', 'e', 'n', 'd' };

static void seal_head(unsigned char head[SEAL_HEAD], uint64_t bytes)
{
    memset(head, 0, SEAL_HEAD);
    memcpy(head, seal_magic, sizeof seal_magic);
    for (int i = 0; i < 8; i++)
        head[16 + i] = (unsigned char)(bytes >> (8 * i));
}

/* Hash the first `n` bytes of `f` and the seal's head. */
static lmb_status hash_file(FILE *f, const char *path, uint64_t n, lmb_hash *out, lmb_error *err)
{
    unsigned char buf[CHUNK], head[SEAL_HEAD];
    lmb_hasher h;

    seal_head(head, n);
    lmb_hash_begin(&h);
    rewind(f);
    while (n > 0) {
        size_t want = n < CHUNK ? (size_t)n : CHUNK;
        if (fread(buf, 1, want, f) != want)
            return LMB_FAIL(err, LMB_E_IO, "cannot read %s: %s", path, ferror(f) ? strerror(errno) : "it got shorter");
        lmb_hash_add(&h, buf, want);
        n -= want;
    }
    lmb_hash_add(&h, head, sizeof head);
    *out = lmb_hash_end(&h);
    return LMB_OK;
}

void lmbi_h5_seal(unsigned char *image, size_t n)
{
    lmb_hasher h;
    lmb_hash sum;

    seal_head(image + n, n);
    lmb_hash_begin(&h);
    lmb_hash_add(&h, image, n + SEAL_HEAD);
    sum = lmb_hash_end(&h);
    memcpy(image + n + SEAL_HEAD, sum.b, sizeof sum.b);
}

static lmb_status check_seal(FILE *f, const char *path, uint64_t size, lmb_error *err)
{
    unsigned char seal[SEAL], head[SEAL_HEAD];
    lmb_hash h;

    if (size < SEAL || fseeko(f, (off_t)(size - SEAL), SEEK_SET) != 0 || fread(seal, 1, SEAL, f) != SEAL ||
        memcmp(seal, seal_magic, sizeof seal_magic) != 0)
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "%s has no end mark: it is truncated, or another program has changed or made "
                        "it",
                        path);
    LMB_TRY(hash_file(f, path, size - SEAL, &h, err));
    seal_head(head, size - SEAL);
    if (memcmp(seal, head, SEAL_HEAD) != 0 || memcmp(seal + SEAL_HEAD, h.b, sizeof h.b) != 0)
        return LMB_FAIL(err, LMB_E_FORMAT, "%s is damaged: its content does not match its checksum", path);
    return LMB_OK;
}

lmb_status lmbi_h5_check_seal(const char *path, lmb_error *err)
{
    uint64_t size;
    lmb_status st;
    FILE *f;

    LMB_TRY(lmb_file_size(path, &size, err));
    f = fopen(path, "rb");
    if (!f)
        return LMB_FAIL(err, LMB_E_IO, "cannot open %s: %s", path, strerror(errno));
    st = check_seal(f, path, size, err);
    fclose(f);
    return st;
}

const lmb_store_format lmb_store_hdf5 = {
    .name = "hdf5",
    .summary = "HDF5, for checkpoints that other programs read",
    .magic = { 0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n' },
    .write = lmbi_h5_write,
    .open = lmbi_h5_open,
    .fetch = lmbi_h5_fetch,
    .close = lmbi_h5_close,
};
