/* core/edge/unpack.c - see packed.h: the decoder, and the plain file laid out anew. No allocation, no recursion; every
 * read of the code is counted, and a code that ends early or late is refused. */
#include "core/edge/packed.h"
#include "core/edge/packed_model.h"

/* The sections of a file whose container has been checked. */
typedef struct packed {
    const uint8_t *file, *table;
    uint32_t sections;    /* without the signature */
    const uint8_t *coded; /* WTSC's bytes; NULL: there is none */
    const uint8_t *code;  /* behind WTSC's head, and its list of runs */
    uint32_t runs;
    int listed; /* there is such a list; else one run is all of WTS, in bytes */
    size_t coded_bytes, plain_bytes, file_bytes; /* of WTSC, of WTS, of the plain file */
} packed;

static lmbi_packed_run run_at(const packed *p, uint32_t i)
{
    const uint8_t *at = p->coded + LMBI_PACKED_HEAD + 4 + (size_t)i * LMBI_PACKED_RUN;
    lmbi_packed_run r = { (uint32_t)p->plain_bytes, 8 };
    if (p->listed) {
        r.weights = lmbi_edge_u32(at);
        r.bits = lmbi_edge_u32(at + 4);
    }
    return r;
}

/* ---- the code --------------------------------------------------------------------------------------------- */

typedef struct decoder {
    const uint8_t *at, *end;
    uint32_t range, code;
    int bad; /* read past the end */
} decoder;

static uint8_t next_byte(decoder *d)
{
    if (d->at == d->end) {
        d->bad = 1;
        return 0;
    }
    return *d->at++;
}

static int read_bit(decoder *d, lmbi_packed_bit *b)
{
    uint32_t bound = lmbi_packed_bound(d->range, b);
    int bit = d->code >= bound;
    if (bit) {
        d->code -= bound;
        d->range -= bound;
    } else {
        d->range = bound;
    }
    lmbi_packed_learn(b, bit);
    while (d->range < LMBI_PACKED_TOP) {
        d->range <<= 8;
        d->code = d->code << 8 | next_byte(d);
    }
    return bit;
}

static uint8_t read_weight(decoder *d, lmbi_packed_model *m)
{
    int zero = read_bit(d, lmbi_packed_zero(m));
    lmbi_packed_next(m, zero);
    if (zero)
        return 0;
    int minus = read_bit(d, &m->sign), node = 1;
    for (int i = 0; i < 7; i++)
        node = node << 1 | read_bit(d, &m->tree[node]);
    int size = node - 128 + 1; /* 1..128 */
    return (uint8_t)(minus ? 256 - size : size & 127); /* +128 is no s8; packing never writes it */
}

/* The weights of a run, into its bytes: number i in bits [i * bits, (i + 1) * bits). */
static void read_run(decoder *d, lmbi_packed_model *m, lmbi_packed_run r, uint8_t *to)
{
    uint32_t some = 0, mask = ((uint32_t)1 << r.bits) - 1;
    unsigned have = 0;
    for (uint32_t i = 0; i < r.weights && !d->bad; i++) {
        some |= (read_weight(d, m) & mask) << have;
        for (have += r.bits; have >= 8; have -= 8, some >>= 8)
            *to++ = (uint8_t)some;
    }
    if (have)
        *to = (uint8_t)some;
}

static lmb_edge_status decode(const packed *p, uint8_t *to, const lmbi_edge_why *why)
{
    decoder d = { p->code, p->coded + p->coded_bytes, UINT32_MAX, 0, 0 };
    lmbi_packed_model m;
    lmbi_packed_begin(&m);
    uint8_t first = next_byte(&d);
    for (int i = 0; i < 4; i++)
        d.code = d.code << 8 | next_byte(&d);
    for (uint32_t i = 0; i < p->runs && !d.bad; i++) {
        lmbi_packed_run r = run_at(p, i);
        read_run(&d, &m, r, to);
        to += lmbi_packed_run_bytes(r);
    }
    if (first || d.bad || d.at != d.end)
        return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "the packed weights end %s",
                              d.bad ? "early: a cut code?" : "late: bytes are left over");
    return LMB_EDGE_OK;
}

/* ---- the container ---------------------------------------------------------------------------------------- */

/* Do they make up WTS, and is there a code behind their list? */
static lmb_edge_status check_runs(packed *p, const lmbi_edge_why *why)
{
    size_t room = p->coded_bytes - LMBI_PACKED_HEAD - LMBI_PACKED_FLUSH;
    uint32_t n = room < 4 ? 0 : lmbi_edge_u32(p->coded + LMBI_PACKED_HEAD);
    uint64_t bytes = 0;
    if (!n || n > LMBI_PACKED_MAX_RUNS || (room - 4) / LMBI_PACKED_RUN < n)
        return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "WTSC says %lu runs of weights in %llu bytes, allowed are 1..%d",
                              (unsigned long)n, (unsigned long long)p->coded_bytes, LMBI_PACKED_MAX_RUNS);
    p->runs = n;
    p->listed = 1;
    p->code = p->coded + LMBI_PACKED_HEAD + 4 + (size_t)n * LMBI_PACKED_RUN;
    for (uint32_t i = 0; i < n; i++) {
        lmbi_packed_run r = run_at(p, i);
        if (!r.weights || r.bits < 2 || r.bits > 8)
            return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT,
                                  "run %lu of WTSC has %lu weights of %lu bits, allowed are 2..8", (unsigned long)i,
                                  (unsigned long)r.weights, (unsigned long)r.bits);
        bytes += lmbi_packed_run_bytes(r);
    }
    return bytes == p->plain_bytes
               ? LMB_EDGE_OK
               : lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "the runs of WTSC have %llu bytes, and not its %llu",
                                (unsigned long long)bytes, (unsigned long long)p->plain_bytes);
}

static lmb_edge_status read_coded(packed *p, const uint8_t *entry, const lmbi_edge_why *why)
{
    p->coded = p->file + lmbi_edge_u64(entry + 8);
    p->coded_bytes = (size_t)lmbi_edge_u64(entry + 16);
    if (p->coded_bytes < LMBI_PACKED_HEAD + LMBI_PACKED_FLUSH)
        return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "WTSC has %llu bytes, less than its head",
                              (unsigned long long)p->coded_bytes);
    if (lmbi_edge_crc32c(0, p->coded, p->coded_bytes) != lmbi_edge_u32(entry + 4))
        return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "the packed weights are damaged: their CRC-32C does not match");
    uint32_t coding = lmbi_edge_u32(p->coded);
    if (coding != LMBI_PACKED_BYTES && coding != LMBI_PACKED_RUNS)
        return lmbi_edge_fail(why, LMB_EDGE_E_VERSION,
                              "the weights are packed by coding %lu: this reader knows 1 and 2", (unsigned long)coding);
    uint64_t bytes = lmbi_edge_u64(p->coded + 8);
    if (!bytes || bytes > LMBI_PACKED_MAX)
        return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "WTSC says %llu bytes of weights, allowed are 1..%d",
                              (unsigned long long)bytes, LMBI_PACKED_MAX);
    p->plain_bytes = (size_t)bytes;
    p->code = p->coded + LMBI_PACKED_HEAD;
    p->runs = 1;
    return coding == LMBI_PACKED_BYTES ? LMB_EDGE_OK : check_runs(p, why);
}

static lmb_edge_status look(const void *file, size_t n, packed *p, const lmbi_edge_why *why)
{
    size_t signed_bytes, signature_bytes;
    const uint8_t *signature;
    lmb_edge_status s = lmb_edge_signature(file, n, &signed_bytes, &signature, &signature_bytes, why->text, why->cap);
    if (s != LMB_EDGE_OK)
        return s; /* the container is sound from here on */
    memset(p, 0, sizeof *p);
    p->file = (const uint8_t *)file;
    p->table = p->file + LMBI_EDGE_HEADER;
    p->sections = lmbi_edge_u32(p->file + 24) - (signature != NULL);
    for (uint32_t i = 0; i < p->sections; i++) {
        const uint8_t *entry = p->table + (size_t)i * LMBI_EDGE_SECTION;
        if (lmbi_edge_u32(entry) == LMBI_EDGE_TYPE('W', 'T', 'S', ' '))
            p->plain_bytes = 1; /* noted: packed and plain weights do not go together */
    }
    int plain = p->plain_bytes != 0;
    for (uint32_t i = 0; i < p->sections && s == LMB_EDGE_OK; i++) {
        const uint8_t *entry = p->table + (size_t)i * LMBI_EDGE_SECTION;
        if (lmbi_edge_u32(entry) == LMBI_PACKED_TYPE)
            s = plain ? lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "the file has its weights twice, plain and packed")
                      : read_coded(p, entry, why);
    }
    uint64_t end = LMBI_EDGE_HEADER + (uint64_t)p->sections * LMBI_EDGE_SECTION; /* may be beyond a size_t of 32 bits */
    for (uint32_t i = 0; i < p->sections && p->coded; i++) {
        const uint8_t *entry = p->table + (size_t)i * LMBI_EDGE_SECTION;
        int coded = lmbi_edge_u32(entry) == LMBI_PACKED_TYPE;
        end = lmbi_edge_round_up(end) + (coded ? p->plain_bytes : lmbi_edge_u64(entry + 16));
    }
    p->file_bytes = (size_t)end;
    if (s == LMB_EDGE_OK && end > SIZE_MAX)
        s = lmbi_edge_fail(why, LMB_EDGE_E_FORMAT, "%llu bytes unpacked are more than this machine has addresses for",
                           (unsigned long long)end);
    return s;
}

lmb_edge_status lmb_edge_unpacked_bytes(const void *file, size_t n, size_t *out, char *why_text, size_t why_cap)
{
    lmbi_edge_why why = { why_text, why_cap };
    packed p;
    lmb_edge_status s = look(file, n, &p, &why);
    if (s == LMB_EDGE_OK)
        *out = p.coded ? p.file_bytes : 0;
    return s;
}

static void put_u32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> 8 * i);
}

static void put_u64(uint8_t *at, uint64_t v)
{
    put_u32(at, (uint32_t)v);
    put_u32(at + 4, (uint32_t)(v >> 32));
}

/* Section i, at `at` of the plain file. */
static lmb_edge_status put_section(const packed *p, uint32_t i, uint8_t *file, size_t at, size_t *bytes,
                                   const lmbi_edge_why *why)
{
    const uint8_t *entry = p->table + (size_t)i * LMBI_EDGE_SECTION;
    uint8_t *to = file + LMBI_EDGE_HEADER + (size_t)i * LMBI_EDGE_SECTION;
    memcpy(to, entry, LMBI_EDGE_SECTION);
    *bytes = (size_t)lmbi_edge_u64(entry + 16);
    if (lmbi_edge_u32(entry) == LMBI_PACKED_TYPE) {
        lmb_edge_status s = decode(p, file + at, why);
        if (s != LMB_EDGE_OK)
            return s;
        if (lmbi_edge_crc32c(0, file + at, p->plain_bytes) != lmbi_edge_u32(p->coded + 4))
            return lmbi_edge_fail(why, LMB_EDGE_E_FORMAT,
                                  "the weights are not those that were packed: their CRC-32C does not match");
        *bytes = p->plain_bytes;
        put_u32(to, LMBI_EDGE_TYPE('W', 'T', 'S', ' '));
        put_u32(to + 4, lmbi_edge_u32(p->coded + 4));
    } else {
        memcpy(file + at, p->file + lmbi_edge_u64(entry + 8), *bytes);
    }
    put_u64(to + 8, at);
    put_u64(to + 16, *bytes);
    return LMB_EDGE_OK;
}

lmb_edge_status lmb_edge_unpack(const void *from, size_t n, void *memory, size_t bytes, char *why_text, size_t why_cap)
{
    lmbi_edge_why why = { why_text, why_cap };
    uint8_t *file = (uint8_t *)memory;
    packed p;
    lmb_edge_status s = look(from, n, &p, &why);
    if (s != LMB_EDGE_OK)
        return s;
    if (!p.coded || bytes != p.file_bytes)
        return lmbi_edge_fail(&why, LMB_EDGE_E_ARG, "memory of %llu bytes for a file of %llu; 0: it is not packed",
                              (unsigned long long)bytes, (unsigned long long)(p.coded ? p.file_bytes : 0));
    size_t head = LMBI_EDGE_HEADER + (size_t)p.sections * LMBI_EDGE_SECTION, end = head;
    memcpy(file, p.file, LMBI_EDGE_HEADER);
    file[10] = file[11] = 0; /* minor */
    put_u32(file + 12, 0);
    put_u64(file + 16, bytes);
    put_u32(file + 24, p.sections);
    for (uint32_t i = 0; i < p.sections; i++) {
        size_t at = (size_t)lmbi_edge_round_up(end), size = 0;
        memset(file + end, 0, at - end);
        s = put_section(&p, i, file, at, &size, &why);
        if (s != LMB_EDGE_OK)
            return s;
        end = at + size;
    }
    put_u32(file + 12, lmbi_edge_crc32c(0, file, head));
    return LMB_EDGE_OK;
}
