/* train/checkpoint_model.c - see checkpoint_model.h. */
#include "train/checkpoint_model.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/graph/state.h"
#include "core/store/store.h"
#include "train/model.h"

/* Build `model`; *out stays NULL, and that is no error, when it is not the one whose layout has this name. */
static lmb_status try_model(const lmb_tree *model, const char *layout, const lmb_shape *sample, int classes,
                            lmb_graph **out, lmb_state_layout **out_layout, lmb_error *err)
{
    lmb_error local = LMB_ERROR_INIT;
    lmb_state_layout *l = NULL;
    lmb_graph *g = NULL;
    char hex[LMB_HASH_HEX];

    if (!model || lmb_model_build(model, sample, classes, 1, &g, &local) != LMB_OK)
        return LMB_OK; /* does not fit such samples: a caller says so */
    lmb_status st = lmb_state_layout_create(g, &l, err);
    if (st == LMB_OK) {
        lmb_hash_hex(&l->hash, hex);
        if (strcmp(hex, layout) == 0) {
            *out = g;
            *out_layout = l;
            return LMB_OK;
        }
    }
    lmb_state_layout_destroy(l);
    lmb_graph_destroy(g);
    return st;
}

/* A checkpoint's configuration has its stage's `model`; one of a whole file has those of its stages. */
static lmb_status find_model(const lmb_tree *root, const char *layout, const lmb_shape *sample, int classes,
                             lmb_graph **out, lmb_state_layout **out_layout, lmb_error *err)
{
    const lmb_tree *at[] = { root, lmb_tree_get(root, "teacher"), lmb_tree_get(root, "student") };
    char text[LMB_SHAPE_TEXT];

    for (size_t i = 0; i < sizeof at / sizeof *at && !*out; i++)
        LMB_TRY(try_model(lmb_tree_get(at[i], "model"), layout, sample, classes, out, out_layout, err));
    return *out
               ? LMB_OK
               : LMB_FAIL(
                     err, LMB_E_SHAPE,
                     "its weights are of no model that its configuration describes, for samples %s and %d "
                     "classes; it was trained on other data, or the model was changed (pruned, quantised): use the .onnx file",
                     lmb_shape_text(sample, text, sizeof text), classes);
}

static lmb_status fill(const lmb_store *f, const lmb_state_layout *l, lmb_graph *g, lmb_error *err)
{
    lmb_shape shape = LMB_SHAPE((int64_t)l->count);
    double best;

    LMB_TRY(lmb_store_get_real(f, "best_accuracy", &best, err));
    const char *name = best >= 0 && lmb_store_find(f, "best") ? "best" : lmb_store_find(f, "ema") ? "ema" : "state";
    float *state = malloc(sizeof *state * (l->count + 1));
    if (!state)
        return LMB_FAIL(err, LMB_E_NOMEM, "no memory for %zu numbers", l->count);
    lmb_status st = lmb_store_get_tensor(f, name, LMB_F32, &shape, state, err);
    if (st == LMB_OK)
        st = lmb_state_to_graph(l, state, g, err);
    free(state);
    return st;
}

static lmb_status read_model(const lmb_store *f, const lmb_shape *sample, int classes, lmb_graph **out, lmb_error *err)
{
    lmb_state_layout *l = NULL;
    lmb_config *c = NULL;
    lmb_graph *g = NULL;
    const char *text, *layout;

    LMB_TRY(lmb_store_get_text(f, "layout", &layout, err));
    LMB_TRY(lmb_store_get_text(f, "configuration", &text, err));
    LMB_TRY(lmb_config_parse(text, strlen(text), "configuration", &c, err));
    lmb_status st = find_model(lmb_config_root(c), layout, sample, classes, &g, &l, err);
    if (st == LMB_OK)
        st = fill(f, l, g, err);
    lmb_state_layout_destroy(l);
    lmb_config_destroy(c);
    if (st != LMB_OK) {
        lmb_graph_destroy(g);
        return st;
    }
    *out = g;
    return LMB_OK;
}

lmb_status lmb_checkpoint_model(const char *path, const lmb_shape *sample, int classes, lmb_graph **out, lmb_error *err)
{
    lmb_store *f;
    LMB_TRY(lmb_store_open(path, &f, err));
    lmb_status st = read_model(f, sample, classes, out, err);
    lmb_store_close(f);
    if (st != LMB_OK)
        lmb_error_context(err, "%s", path);
    return st;
}
