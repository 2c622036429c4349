/* core/onnx/proto.c - bytes to protobuf messages, within bounds.
 *
 * protobuf-c has no limit on nesting (each level takes stack) and none on memory (an empty message is two
 * bytes in a file and hundreds in memory). So the nesting is measured first, by a walk over the wire format
 * that follows the message descriptors, and memory comes from an allocator with a budget.
 *   source   protobuf encoding specification; onnx.proto
 */
#include <stdlib.h>
#include <string.h>

#include "core/onnx/internal.h"

enum { MAX_NESTING = 24 };
static const size_t STRUCTURE_BYTES = (size_t)1 << 30; /* beyond the bytes of the file */

/* ---- nesting ---- */

static bool varint(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
    uint64_t v = 0;

    for (int shift = 0; shift < 64 && *p < end; shift += 7) {
        uint8_t b = *(*p)++;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            *out = v;
            return true;
        }
    }
    return false;
}

/* True if the message is well-formed on the wire and nowhere nested deeper than `room`. */
static bool nesting_ok(const ProtobufCMessageDescriptor *d, const uint8_t *p, const uint8_t *end, int room)
{
    if (room == 0)
        return false;
    while (p < end) {
        uint64_t tag, n;
        if (!varint(&p, end, &tag))
            return false;
        switch (tag & 7) {
        case 0:
            if (!varint(&p, end, &n))
                return false;
            break;
        case 1: n = 8; goto skip;
        case 5: n = 4; goto skip;
        case 2: {
            if (!varint(&p, end, &n) || n > (uint64_t)(end - p))
                return false;
            const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field(d, (unsigned)(tag >> 3));
            if (f && f->type == PROTOBUF_C_TYPE_MESSAGE && !nesting_ok(f->descriptor, p, p + n, room - 1))
                return false;
        }
        skip:
            if (n > (uint64_t)(end - p))
                return false;
            p += n;
            break;
        default: return false;
        }
    }
    return true;
}

/* ---- memory ---- */

typedef union block { size_t size; max_align_t align; } block;

static void *take(void *ctx, size_t size)
{
    lmbi_proto *p = ctx;
    block *b;

    if (size > p->left || p->left - size < sizeof *b)
        return NULL;
    b = malloc(sizeof *b + size);
    if (!b)
        return NULL;
    b->size = sizeof *b + size;
    p->left -= b->size;
    return b + 1;
}

static void give(void *ctx, void *pointer)
{
    lmbi_proto *p = ctx;

    if (!pointer)
        return;
    block *b = (block *)pointer - 1;
    p->left += b->size;
    free(b);
}

static lmb_status unpack(lmbi_proto *p, const ProtobufCMessageDescriptor *d, const void *bytes, size_t n,
                         ProtobufCMessage **out, lmb_error *err)
{
    if (!nesting_ok(d, bytes, (const uint8_t *)bytes + n, MAX_NESTING))
        return LMB_FAIL(err, LMB_E_FORMAT, "these %zu bytes are no ONNX %s: cut short, damaged, or nested too deeply",
                        n, d->short_name);
    p->allocator = (ProtobufCAllocator){ take, give, p };
    p->left = n > (STRUCTURE_BYTES >> 6) ? n + STRUCTURE_BYTES : 65 * n + ((size_t)1 << 20);
    *out = protobuf_c_message_unpack(d, &p->allocator, n, bytes);
    if (!*out)
        return LMB_FAIL(err, LMB_E_FORMAT,
                        "these %zu bytes are no ONNX %s: a field is damaged or asks for too much memory", n,
                        d->short_name);
    return LMB_OK;
}

/* What is text; all else are names. */
static bool has_lines(const char *field) { return !strcmp(field, "doc_string") || !strcmp(field, "value"); }

/* Texts end in terminals, reports and messages: bytes that steer a terminal become '?' in all of them, lines and tabs
 * in names. */
static void tame(ProtobufCMessage *m)
{
    for (unsigned i = 0; i < m->descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *f = &m->descriptor->fields[i];
        bool many = f->label == PROTOBUF_C_LABEL_REPEATED;
        void *at = (char *)m + f->offset;
        size_t n = many ? *(size_t *)((char *)m + f->quantifier_offset) : 1;

        if ((f->type != PROTOBUF_C_TYPE_STRING && f->type != PROTOBUF_C_TYPE_MESSAGE) ||
            ((f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && *(uint32_t *)((char *)m + f->quantifier_offset) != f->id))
            continue;
        for (size_t k = 0; k < n; k++) {
            void *one = many ? (*(void ***)at)[k] : *(void **)at;
            if (f->type == PROTOBUF_C_TYPE_MESSAGE && one)
                tame(one);
            for (char *c = f->type == PROTOBUF_C_TYPE_STRING ? one : NULL; c && *c; c++)
                if (((unsigned char)*c < 32 && !(has_lines(f->name) && (*c == '\n' || *c == '\t'))) || *c == 127)
                    *c = '?';
        }
    }
}

lmb_status lmbi_proto_model(lmbi_proto *p, const void *bytes, size_t n, size_t max_bytes, Onnx__ModelProto **out,
                            lmb_error *err)
{
    ProtobufCMessage *m = NULL;

    if (n > max_bytes)
        return LMB_FAIL(err, LMB_E_FORMAT, "the model has %zu bytes; at most %zu are read", n, max_bytes);
    LMB_TRY(unpack(p, &onnx__model_proto__descriptor, bytes, n, &m, err));
    tame(m);
    *out = (Onnx__ModelProto *)m;
    return LMB_OK;
}

void lmbi_proto_free(lmbi_proto *p, Onnx__ModelProto *m)
{
    if (m)
        protobuf_c_message_free_unpacked(&m->base, &p->allocator);
}

/* ---- tensors ---- */

/* Which list of a TensorProto holds the content when raw_data does not, and how many numbers it has. */
static size_t listed(const Onnx__TensorProto *t, lmb_dtype dtype)
{
    switch (dtype) {
    case LMB_F32: return t->n_float_data;
    case LMB_F64: return t->n_double_data;
    case LMB_S64: return t->n_int64_data;
    case LMB_U32:
    case LMB_U64: return t->n_uint64_data;
    default: return t->n_int32_data;
    }
}

lmb_status lmbi_tensor_type(const Onnx__TensorProto *t, lmb_dtype *dtype, lmb_shape *shape, lmb_error *err)
{
    const char *name = t->name ? t->name : "";

    if ((t->has_data_location && t->data_location != ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT) || t->n_external_data)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "tensor '%.80s' lies in another file; save the model as one file",
                        name);
    if (t->segment)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "tensor '%.80s' is split into segments; save it whole", name);
    bool int4 = t->data_type == LMBI_ONNX_INT4;
    *dtype = LMB_S8;
    if (!int4 && !lmb_dtype_from_onnx(t->data_type, dtype))
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "tensor '%.80s' has data type %d, which is no number we know", name,
                        (int)t->data_type);
    if (t->n_dims > LMB_MAX_DIMS)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "tensor '%.80s' has %zu dimensions; at most %d are supported", name,
                        t->n_dims, LMB_MAX_DIMS);
    *shape = lmb_shape_of((int)t->n_dims, t->dims);
    if (lmb_shape_check(shape, *dtype, err) != LMB_OK)
        return lmb_error_context(err, "tensor '%.80s'", name);
    size_t count = (size_t)lmb_shape_count(shape), bytes = int4 ? (count + 1) / 2 : lmb_shape_bytes(shape, *dtype);
    if (int4 && !t->has_raw_data)
        return LMB_FAIL(err, LMB_E_UNSUPPORTED, "tensor '%.80s' is INT4 in a list of int32; save it as raw data", name);
    if (t->has_raw_data ? t->raw_data.len != bytes : listed(t, *dtype) != count)
        return LMB_FAIL(err, LMB_E_FORMAT, "tensor '%.80s' should have %zu numbers (%zu bytes) but holds %zu %s", name,
                        count, bytes, t->has_raw_data ? t->raw_data.len : listed(t, *dtype),
                        t->has_raw_data ? "bytes" : "numbers");
    return LMB_OK;
}

void lmbi_tensor_copy(const Onnx__TensorProto *t, lmb_dtype dtype, int64_t count, void *out)
{
    size_t n = (size_t)count, size = lmb_dtype_bytes(dtype);

    if (n == 0)
        return;
    if (t->data_type == LMBI_ONNX_INT4) {
        lmbi_int4_unpack(t->raw_data.data, n, out);
        return;
    }
    if (t->has_raw_data) {
        memcpy(out, t->raw_data.data, n * size);
        return;
    }
    switch (dtype) {
    case LMB_F32: memcpy(out, t->float_data, n * size); break;
    case LMB_F64: memcpy(out, t->double_data, n * size); break;
    case LMB_S64: memcpy(out, t->int64_data, n * size); break;
    case LMB_U64: memcpy(out, t->uint64_data, n * size); break;
    case LMB_U32:
        for (size_t i = 0; i < n; i++)
            ((uint32_t *)out)[i] = (uint32_t)t->uint64_data[i];
        break;
    default: /* narrow types are stored one to an int32, in its low bytes */
        for (size_t i = 0; i < n; i++)
            memcpy((char *)out + i * size, &t->int32_data[i], size);
    }
}

lmb_status lmb_onnx_tensor(const void *bytes, size_t n, lmb_tensor *out, lmb_error *err)
{
    lmbi_proto p;
    ProtobufCMessage *m = NULL;
    lmb_tensor t = { 0 };
    lmb_status st;

    LMB_TRY(unpack(&p, &onnx__tensor_proto__descriptor, bytes, n, &m, err));
    LMB_TRY_GOTO(st, done, lmbi_tensor_type((Onnx__TensorProto *)m, &t.dtype, &t.shape, err));
    t.data = malloc(lmb_shape_bytes(&t.shape, t.dtype) + 1);
    if (!t.data) {
        st = LMB_FAIL(err, LMB_E_NOMEM, "no memory for a tensor of %zu bytes", lmb_shape_bytes(&t.shape, t.dtype));
        goto done;
    }
    lmbi_tensor_copy((Onnx__TensorProto *)m, t.dtype, lmb_shape_count(&t.shape), t.data);
    *out = t;
done:
    protobuf_c_message_free_unpacked(m, &p.allocator);
    return st;
}

/* ---- what a file says about itself ---- */

const char *lmbi_metadata(const Onnx__ModelProto *m, const char *key)
{
    for (size_t i = 0; i < m->n_metadata_props; i++)
        if (m->metadata_props[i]->key && m->metadata_props[i]->value && strcmp(m->metadata_props[i]->key, key) == 0)
            return m->metadata_props[i]->value;
    return NULL;
}

int64_t lmbi_opset(const Onnx__ModelProto *m)
{
    for (size_t i = 0; i < m->n_opset_import; i++) {
        const char *domain = m->opset_import[i]->domain;
        if (!domain || !*domain || strcmp(domain, "ai.onnx") == 0)
            return m->opset_import[i]->version;
    }
    return 0;
}

static void put_text(char *out, size_t cap, const char *text)
{
    size_t n = text ? strnlen(text, cap - 1) : 0;
    memcpy(out, text ? text : "", n);
    out[n] = 0;
}

/* The texts of a description lie one behind the other in its memory; their number and bytes are known first. */
static const char *keep(char **at, const char *text)
{
    const char *own = *at;
    size_t n = text ? strlen(text) : 0;
    memcpy(*at, text ? text : "", n + 1);
    *at += n + 1;
    return own;
}

static size_t text_bytes(const Onnx__ModelProto *m)
{
    size_t n = 1;

    for (size_t i = 0; i < m->n_metadata_props; i++) {
        const Onnx__StringStringEntryProto *e = m->metadata_props[i];
        n += (e->key ? strlen(e->key) : 0) + (e->value ? strlen(e->value) : 0) + 2;
    }
    for (size_t i = 0; m->graph && i < m->graph->n_input; i++)
        n += m->graph->input[i]->name ? strlen(m->graph->input[i]->name) + 1 : 1;
    for (size_t i = 0; m->graph && i < m->graph->n_output; i++)
        n += m->graph->output[i]->name ? strlen(m->graph->output[i]->name) + 1 : 1;
    for (size_t i = 0; m->graph && i < m->graph->n_node; i++) {
        const Onnx__NodeProto *p = m->graph->node[i];
        n += (p->domain ? strlen(p->domain) : 0) + (p->op_type ? strlen(p->op_type) : 0) + 2;
    }
    return n;
}

static void add_operator(lmb_onnx_info *info, lmbi_names *seen, const Onnx__NodeProto *p, char **at)
{
    const char *domain = p->domain && strcmp(p->domain, "ai.onnx") ? p->domain : "";
    char *own = *at;
    size_t n = strlen(domain);

    memcpy(own, domain, n);
    if (n)
        own[n++] = '.';
    strcpy(own + n, p->op_type ? p->op_type : "");
    if (!lmbi_names_put(seen, own, 0))
        return;
    *at += strlen(own) + 1;
    info->operators[info->n_operators++] = own;
}

static lmb_status fill_info(lmb_onnx_info *info, const Onnx__ModelProto *m, lmb_error *err)
{
    static const Onnx__GraphProto empty = ONNX__GRAPH_PROTO__INIT;
    const Onnx__GraphProto *g = m->graph ? m->graph : &empty;
    lmbi_names given = { 0 }, seen = { 0 };
    char *at = info->memory = malloc(text_bytes(m));
    lmb_status st = LMB_OK;

    info->properties = calloc(m->n_metadata_props + 1, sizeof *info->properties);
    info->inputs = calloc(g->n_input + 1, sizeof *info->inputs);
    info->outputs = calloc(g->n_output + 1, sizeof *info->outputs);
    info->operators = calloc(g->n_node + 1, sizeof *info->operators);
    if (!at || !info->properties || !info->inputs || !info->outputs || !info->operators)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a model's description");
    LMB_TRY_GOTO(st, done, lmbi_names_create(&given, g->n_initializer, err));
    LMB_TRY_GOTO(st, done, lmbi_names_create(&seen, g->n_node, err));
    for (size_t i = 0; i < m->n_metadata_props; i++)
        info->properties[info->n_properties++] = (lmb_onnx_property){ keep(&at, m->metadata_props[i]->key),
                                                                      keep(&at, m->metadata_props[i]->value) };
    for (size_t i = 0; i < g->n_initializer; i++)
        lmbi_names_put(&given, g->initializer[i]->name ? g->initializer[i]->name : "", 0);
    for (size_t i = 0; i < g->n_input; i++)
        if (lmbi_names_get(&given, g->input[i]->name ? g->input[i]->name : "") == LMB_NONE)
            info->inputs[info->n_inputs++] = keep(&at, g->input[i]->name);
    for (size_t i = 0; i < g->n_output; i++)
        info->outputs[info->n_outputs++] = keep(&at, g->output[i]->name);
    for (size_t i = 0; i < g->n_node; i++)
        add_operator(info, &seen, g->node[i], &at);
done:
    lmbi_names_free(&given);
    lmbi_names_free(&seen);
    return st;
}

lmb_status lmb_onnx_describe(const void *bytes, size_t n, lmb_onnx_info **out, lmb_error *err)
{
    lmbi_proto p;
    Onnx__ModelProto *m = NULL;
    lmb_onnx_info *info = calloc(1, sizeof *info);
    lmb_status st;

    if (!info)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for a model's description");
    LMB_TRY_GOTO(st, done, lmbi_proto_model(&p, bytes, n, LMB_ONNX_MAX_BYTES, &m, err));
    info->ir_version = m->ir_version;
    info->opset = lmbi_opset(m);
    put_text(info->producer, sizeof info->producer, m->producer_name);
    put_text(info->graph_name, sizeof info->graph_name, m->graph ? m->graph->name : NULL);
    st = fill_info(info, m, err);
done:
    lmbi_proto_free(&p, m);
    if (st == LMB_OK)
        *out = info;
    else
        lmb_onnx_info_destroy(info);
    return st;
}

void lmb_onnx_info_destroy(lmb_onnx_info *info)
{
    if (!info)
        return;
    free(info->properties);
    free(info->inputs);
    free(info->outputs);
    free(info->operators);
    free(info->memory);
    free(info);
}

const char *lmb_onnx_property_get(const lmb_onnx_info *info, const char *key)
{
    for (int i = 0; i < info->n_properties; i++)
        if (strcmp(info->properties[i].key, key) == 0)
            return info->properties[i].value;
    return NULL;
}
