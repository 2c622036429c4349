/* core/edge/monitor_model.c - what monitor.h has to know of a model, from its .lmb. A C export has it as constants. */
#include "core/edge/internal.h"
#include "core/edge/monitor.h"

uint32_t lmb_monitor_model(const lmb_edge_model *m)
{
    static const uint32_t types[4] = { LMBI_EDGE_TYPE('T', 'E', 'N', 'S'), LMBI_EDGE_TYPE('O', 'P', 'S', ' '),
                                       LMBI_EDGE_TYPE('W', 'T', 'S', ' '), LMBI_EDGE_TYPE('Q', 'N', 'T', ' ') };
    uint8_t crcs[16] = { 0 }; /* as the section table has them: open has compared them with the bytes */
    for (uint32_t i = 0; i < lmbi_edge_u32(m->file + 24); i++) {
        const uint8_t *entry = m->file + LMBI_EDGE_HEADER + (size_t)i * LMBI_EDGE_SECTION;
        for (int k = 0; k < 4; k++)
            if (lmbi_edge_u32(entry) == types[k])
                memcpy(crcs + 4 * k, entry + 4, 4);
    }
    uint32_t model = lmbi_edge_crc32c(0, crcs, sizeof crcs);
    return model ? model : 1;
}

void lmb_monitor_shape_of(const lmb_edge_model *m, lmb_monitor_shape *shape)
{
    lmb_edge_tensor x, y;
    lmb_edge_tensor_at(m, 0, &x);
    lmb_edge_tensor_at(m, m->n_ops, &y);
    shape->channels = x.c;
    shape->pixels = x.h * x.w;
    shape->planes = x.layout == LMB_EDGE_CHW;
    shape->classes = y.h == 1 && y.w == 1 ? y.c : 0;
    shape->scale = y.type == LMB_EDGE_F32 ? 0 : y.scale;
    shape->model = lmb_monitor_model(m);
    shape->release = m->release;
}
