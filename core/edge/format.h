/* core/edge/format.h - the fixed-size head of a `.lmb` file, shared by the reader and the writer; see lmb.h. */
#ifndef LMB_CORE_EDGE_FORMAT_H
#define LMB_CORE_EDGE_FORMAT_H

#include "core/edge/lmb.h"

typedef struct lmbi_edge_header {
    char magic[8];
    uint16_t major, minor;
    uint32_t header_bytes;
    uint64_t file_bytes;
    uint32_t flags, sections, arena_bytes;
    uint16_t output, reserved;
    uint32_t crc;
    uint8_t reserved2[20];
} lmbi_edge_header;

typedef struct lmbi_edge_section {
    uint32_t type, crc;
    uint64_t offset, length;
} lmbi_edge_section;

enum {
    LMBI_EDGE_MAJOR = 1,
    LMBI_EDGE_MINOR = 0,
    LMBI_EDGE_MAX_SECTIONS = 32,
    LMBI_EDGE_FLAG_CHW = 1,
    LMBI_EDGE_ALIGN = 64
};
#define LMBI_EDGE_MAGIC "LMBEDGE" /* and its NUL */
#define LMBI_EDGE_TYPE(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
#define LMBI_EDGE_MAY_SKIP 0x80000000u

/* The sections this version knows, in the order they are written. */
enum { LMBI_EDGE_TENS, LMBI_EDGE_OPS, LMBI_EDGE_QNT, LMBI_EDGE_WTS, LMBI_EDGE_STRS, LMBI_EDGE_META, LMBI_EDGE_KNOWN };
extern const uint32_t lmbi_edge_section_types[LMBI_EDGE_KNOWN];

/* Structures are the file's bytes: a compiler that lays them out otherwise must not build this. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the .lmb reader works in place and needs a little-endian machine"
#endif
typedef char lmbi_edge_check_header[sizeof(lmbi_edge_header) == 64 ? 1 : -1];
typedef char lmbi_edge_check_section[sizeof(lmbi_edge_section) == 24 ? 1 : -1];
typedef char lmbi_edge_check_tensor[sizeof(lmb_edge_tensor) == 32 ? 1 : -1];
typedef char lmbi_edge_check_op[sizeof(lmb_edge_op) == 64 ? 1 : -1];
typedef char lmbi_edge_check_channel[sizeof(lmb_edge_channel) == 8 ? 1 : -1];

#endif
