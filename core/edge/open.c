/* core/edge/open.c - the container: header, sections, records. What the records say is checked in check.c. */
#include <stdarg.h>
#include <stdio.h>

#include "core/edge/internal.h"

lmb_edge_status lmbi_edge_fail(const lmbi_edge_why *why, lmb_edge_status s, const char *fmt, ...)
{
    if (why->text && why->cap) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(why->text, why->cap, fmt, ap);
        va_end(ap);
        for (char *c = why->text; *c; c++) /* names are of the file, and steer no terminal */
            *c = *c < ' ' || *c > '~' ? '?' : *c;
    }
    return s;
}

/* ---- container -------------------------------------------------------------------------------------------- */

typedef struct container {
    const uint8_t *file, *table;
    uint32_t sections;
} container;

static uint32_t section_type(const container *c, uint32_t i)
{
    return lmbi_edge_u32(c->table + (size_t)i * LMBI_EDGE_SECTION);
}

static size_t section_offset(const container *c, uint32_t i)
{
    return (size_t)lmbi_edge_u64(c->table + (size_t)i * LMBI_EDGE_SECTION + 8);
}

static size_t section_bytes(const container *c, uint32_t i)
{
    return (size_t)lmbi_edge_u64(c->table + (size_t)i * LMBI_EDGE_SECTION + 16);
}

/* The CRC of the header, with zeros where it is stored itself. */
static uint32_t header_crc(const uint8_t *file, size_t n)
{
    static const uint8_t zero[4] = { 0 };
    uint32_t crc = lmbi_edge_crc32c(0, file, 12);
    crc = lmbi_edge_crc32c(crc, zero, 4);
    return lmbi_edge_crc32c(crc, file + 16, n - 16);
}

static lmb_edge_status check_header(const uint8_t *file, size_t n, container *c, const lmbi_edge_why *why)
{
    if (n < LMBI_EDGE_HEADER || memcmp(file, LMBI_EDGE_MAGIC, 8) != 0)
        return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "not a .lmb file: another magic");
    if (lmbi_edge_u16(file + 8) != 1)
        return lmbi_edge_fail(why, LMB_EDGE_E_VERSION, "format %d.%d: this reader knows 1.x; use a newer Limbeck",
                              lmbi_edge_u16(file + 8), lmbi_edge_u16(file + 10));
    if (lmbi_edge_u64(file + 16) != n)
        return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "the file says %llu bytes, there are %llu: a cut copy?",
                              (unsigned long long)lmbi_edge_u64(file + 16), (unsigned long long)n);
    c->sections = lmbi_edge_u32(file + 24);
    size_t head = LMBI_EDGE_HEADER + (size_t)c->sections * LMBI_EDGE_SECTION;
    if (c->sections < 1 || c->sections > LMBI_EDGE_MAX_SECTIONS || head > n)
        return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "%lu sections, allowed are 1..%d that fit in the file",
                              (unsigned long)c->sections, LMBI_EDGE_MAX_SECTIONS);
    if (header_crc(file, head) != lmbi_edge_u32(file + 12))
        return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "the header is damaged: its CRC-32C does not match");
    if (lmbi_edge_u32(file + 28) != 1)
        return lmbi_edge_fail(why, LMB_EDGE_E_VERSION, "requantisation kind %lu: this reader knows 1 (binary32)",
                              (unsigned long)lmbi_edge_u32(file + 28));
    c->file = file;
    c->table = file + LMBI_EDGE_HEADER;
    return LMB_EDGE_OK;
}

/* Sections ascend, are aligned, leave only zeros between them and end with the file: every byte is accounted. */
static lmb_edge_status check_sections(const container *c, size_t n, const lmbi_edge_why *why)
{
    size_t end = LMBI_EDGE_HEADER + (size_t)c->sections * LMBI_EDGE_SECTION;
    for (uint32_t i = 0; i < c->sections; i++) {
        const uint8_t *entry = c->table + (size_t)i * LMBI_EDGE_SECTION;
        uint64_t offset = lmbi_edge_u64(entry + 8), bytes = lmbi_edge_u64(entry + 16);
        if (offset % LMBI_EDGE_ALIGN || offset < end || offset - end >= LMBI_EDGE_ALIGN || offset > n ||
            bytes > n - offset)
            return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "section %lu: offset %llu and %llu bytes do not fit the file",
                                  (unsigned long)i, (unsigned long long)offset, (unsigned long long)bytes);
        for (; end < offset; end++)
            if (c->file[end])
                return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "byte %llu between sections is not zero",
                                      (unsigned long long)end);
        end = (size_t)(offset + bytes);
        for (uint32_t j = 0; j < i; j++)
            if (section_type(c, i) == section_type(c, j))
                return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "sections %lu and %lu have the same type",
                                      (unsigned long)j, (unsigned long)i);
        if (section_type(c, i) == LMBI_EDGE_TYPE('S', 'I', 'G', 'N') &&
            (i + 1 != c->sections || lmbi_edge_u32(entry + 4)))
            return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "the signature must be the last section, with CRC field 0");
    }
    if (end != n)
        return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "%llu bytes follow the last section",
                              (unsigned long long)(n - end));
    return LMB_EDGE_OK;
}

static lmb_edge_status check_container(const void *file, size_t n, container *c, const lmbi_edge_why *why)
{
    lmb_edge_status s = check_header((const uint8_t *)file, n, c, why);
    return s == LMB_EDGE_OK ? check_sections(c, n, why) : s;
}

lmb_edge_status lmb_edge_signature(const void *file, size_t n, size_t *signed_bytes, const uint8_t **signature,
                                   size_t *signature_bytes, char *why_text, size_t why_cap)
{
    lmbi_edge_why why = { why_text, why_cap };
    container c;
    lmb_edge_status s = check_container(file, n, &c, &why);
    if (s != LMB_EDGE_OK)
        return s;
    uint32_t last = c.sections - 1;
    int found = section_type(&c, last) == LMBI_EDGE_TYPE('S', 'I', 'G', 'N');
    *signed_bytes = found ? section_offset(&c, last) : n;
    *signature = found ? c.file + section_offset(&c, last) : NULL;
    *signature_bytes = found ? section_bytes(&c, last) : 0;
    return LMB_EDGE_OK;
}

/* ---- text ------------------------------------------------------------------------------------------------- */

/* Text from a file ends up on terminals and in logs: no control characters but `allowed`. */
static int printable(const uint8_t *p, size_t n, uint8_t allowed)
{
    for (size_t i = 0; i < n; i++)
        if ((p[i] < 0x20 && p[i] != allowed) || p[i] == 0x7f)
            return 0;
    return 1;
}

static lmb_edge_status check_text(const lmb_edge_model *m, const lmbi_edge_why *why)
{
    if (!printable(m->meta, m->meta_bytes, '\n') || (m->meta_bytes && m->meta[m->meta_bytes - 1] != '\n'))
        return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "META must be lines of printable text");
    if (m->names_bytes && (!printable(m->names, m->names_bytes, 0) || m->names[m->names_bytes - 1] != 0))
        return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "NAME must be printable text that ends with a zero");
    return LMB_EDGE_OK;
}

/* ---- open ------------------------------------------------------------------------------------------------- */

typedef struct opened {
    lmb_edge_model m;
    const uint8_t *release;
    size_t tensors_bytes, ops_bytes, release_bytes;
} opened;

/* Where a section's address and length go; a table of numbers is smaller than one of addresses on the stack. */
typedef struct section_row {
    uint32_t type;
    uint16_t at, bytes;
} section_row;

static const section_row rows[] = {
    { LMBI_EDGE_TYPE('M', 'E', 'T', 'A'), offsetof(opened, m.meta), offsetof(opened, m.meta_bytes) },
    { LMBI_EDGE_TYPE('N', 'A', 'M', 'E'), offsetof(opened, m.names), offsetof(opened, m.names_bytes) },
    { LMBI_EDGE_TYPE('T', 'E', 'N', 'S'), offsetof(opened, m.tensors), offsetof(opened, tensors_bytes) },
    { LMBI_EDGE_TYPE('O', 'P', 'S', ' '), offsetof(opened, m.ops), offsetof(opened, ops_bytes) },
    { LMBI_EDGE_TYPE('W', 'T', 'S', ' '), offsetof(opened, m.weights), offsetof(opened, m.weights_bytes) },
    { LMBI_EDGE_TYPE('Q', 'N', 'T', ' '), offsetof(opened, m.constants), offsetof(opened, m.constants_bytes) },
    { LMBI_EDGE_TYPE('R', 'E', 'L', ' '), offsetof(opened, release), offsetof(opened, release_bytes) },
    { LMBI_EDGE_TYPE('M', 'O', 'N', ' '), offsetof(opened, m.monitor), offsetof(opened, m.monitor_bytes) },
};

lmb_edge_status lmb_edge_open(const void *file, size_t n, lmb_edge_model *out, char *why_text, size_t why_cap)
{
    lmbi_edge_why why = { why_text, why_cap };
    container c;
    lmb_edge_status s = check_container(file, n, &c, &why);
    if (s != LMB_EDGE_OK)
        return s;

    opened o;
    lmb_edge_model *m = &o.m;
    memset(&o, 0, sizeof o);
    m->tensors = m->ops = m->names = m->weights = m->constants = m->meta = m->file = c.file;
    for (uint32_t i = 0; i < c.sections; i++) {
        uint32_t type = section_type(&c, i);
        const uint8_t *at = c.file + section_offset(&c, i);
        if (type == LMBI_EDGE_TYPE('S', 'I', 'G', 'N'))
            continue;
        if (lmbi_edge_crc32c(0, at, section_bytes(&c, i)) != lmbi_edge_u32(c.table + (size_t)i * LMBI_EDGE_SECTION + 4))
            return lmbi_edge_fail(&why, LMB_EDGE_E_FORMAT, "section %lu is damaged: its CRC-32C does not match",
                                  (unsigned long)i);
        for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
            if (rows[r].type == type) {
                *(const uint8_t **)(void *)((char *)&o + rows[r].at) = at;
                *(size_t *)(void *)((char *)&o + rows[r].bytes) = section_bytes(&c, i);
            }
    }
    size_t ops = o.ops_bytes / LMBI_EDGE_OP;
    if (ops < 1 || ops > LMB_EDGE_MAX_OPS || o.ops_bytes % LMBI_EDGE_OP ||
        o.tensors_bytes != (ops + 1) * LMBI_EDGE_TENSOR)
        return lmbi_edge_fail(&why, LMB_EDGE_E_FORMAT,
                              "OPS has %llu and TENS %llu bytes: needed are 1..%d records of %d and one more of %d",
                              (unsigned long long)o.ops_bytes, (unsigned long long)o.tensors_bytes, LMB_EDGE_MAX_OPS,
                              LMBI_EDGE_OP, LMBI_EDGE_TENSOR);
    m->n_ops = (uint32_t)ops;
    if (!m->monitor_bytes)
        m->monitor = NULL;
    if (o.release_bytes != 0 && o.release_bytes != 8)
        return lmbi_edge_fail(&why, LMB_EDGE_E_FORMAT, "REL has %llu bytes: a release is 8",
                              (unsigned long long)o.release_bytes);
    m->release = o.release_bytes ? lmbi_edge_u64(o.release) : 0;
    for (uint32_t i = 0; i < c.sections; i++)
        if (section_type(&c, i) == LMBI_EDGE_TYPE('W', 'T', 'S', 'C'))
            return lmbi_edge_fail(&why, LMB_EDGE_E_FORMAT,
                                  "packed weights: call lmb_edge_unpack first");
    s = check_text(m, &why);
    if (s == LMB_EDGE_OK)
        s = lmbi_edge_check_graph(m, &why);
    if (s != LMB_EDGE_OK)
        return s;
    const lmbi_edge_kernels *const *set = lmbi_edge_kernel_sets;
    while (!(*set)->usable()) /* the last set, scalar, always is */
        set++;
    m->kernels = *set;
    m->scratch_max = UINT64_MAX;
    *out = *m;
    return LMB_EDGE_OK;
}
