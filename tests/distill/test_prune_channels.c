/* Mirrors distill/prune/axes.c, criteria, channels.c, shrink.c, lineage.c: what belongs together is found, a smaller
 * model answers as the whole one does with the same channels held at zero, and every number is where the lineage
 * says. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/compiler.h"
#include "distill/prune/channels.h"
#include "distill/prune/criteria.h"
#include "tests/distill/answers.h"

static const char *const models[] = {
    "{name: resnet, depth: 8, width: 6, mean: 0.1, scale: 0.9}", "{name: resnet, depth: 20, width: 5}",
    "{name: mobilenet_v1, width: 0.15}", "{name: mobilenet_v2, width: 0.15}",
    "{name: vgg, channels: [8, 0, 12, 9], dropout: 0.2}", "{name: lenet}", "{name: mlp, hidden: [20, 12]}", "concat",
    /* a DenseNet's block, which normalises what it has joined */
    "{name: layers, layers: [{conv: 8}, {concat: [[{activation: relu}], [norm, {activation: relu}, {conv: 6}]]}, "
    "{concat: [[{activation: relu}], [norm, {activation: relu}, {conv: 5}]]}, norm, {activation: relu}, "
    "{conv: {channels: 7, kernel: 1}}, {pool: global}, dense]}",
};
enum { MODELS = LMB_COUNT(models) };

static lmb_vid random_weights(lmb_builder *b, lmb_role role, const char *name, lmb_shape s)
{
    return lmb_emit_value(b, role, name, LMB_F32, s, NULL);
}

/* Two branches of other widths, joined, normalised, flattened by a Reshape that spells its target out, read by a Gemm.
 * One branch is read a second time. */
static lmb_graph *concat_model(void)
{
    lmb_graph *g;
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(1, 3, 6, 6), NULL);
    lmb_vid left = lmb_emit(&b, "Conv", "left",
                            LMB_IN(x, random_weights(&b, LMB_ROLE_PARAMETER, "left.w", LMB_SHAPE(7, 3, 3, 3)),
                                   random_weights(&b, LMB_ROLE_PARAMETER, "left.b", LMB_SHAPE(7))),
                            LMB_NO_ATTRS);
    lmb_vid right =
        lmb_emit(&b, "Conv", "right",
                 LMB_IN(x, random_weights(&b, LMB_ROLE_PARAMETER, "right.w", LMB_SHAPE(5, 3, 3, 3))), LMB_NO_ATTRS);
    lmb_vid both = lmb_emit(&b, "Concat", "both", LMB_IN(left, right), LMB_ATTRS(LMB_AINT("axis", 1)));
    lmb_vid bn[3];
    lmb_emit_n(&b, "BatchNormalization", "norm",
               LMB_IN(both, random_weights(&b, LMB_ROLE_PARAMETER, "scale", LMB_SHAPE(12)),
                      random_weights(&b, LMB_ROLE_PARAMETER, "bias", LMB_SHAPE(12)),
                      random_weights(&b, LMB_ROLE_STATISTIC, "mean", LMB_SHAPE(12)),
                      random_weights(&b, LMB_ROLE_STATISTIC, "var", LMB_SHAPE(12))),
               LMB_NO_ATTRS, bn, 1);
    const int64_t target[2] = { -1, 12 * 16 };
    lmb_vid flat = lmb_emit(&b, "Reshape", "flat",
                            LMB_IN(lmb_emit(&b, "Relu", NULL, LMB_IN(bn[0]), LMB_NO_ATTRS),
                                   lmb_emit_value(&b, LMB_ROLE_CONSTANT, "target", LMB_S64, LMB_SHAPE(2), target)),
                            LMB_NO_ATTRS);
    lmb_vid y = lmb_emit(&b, "Gemm", "head",
                         LMB_IN(flat, random_weights(&b, LMB_ROLE_PARAMETER, "head.w", LMB_SHAPE(192, 4)),
                                random_weights(&b, LMB_ROLE_PARAMETER, "head.b", LMB_SHAPE(4))),
                         LMB_NO_ATTRS);
    lmb_vid again =
        lmb_emit(&b, "Conv", "again",
                 LMB_IN(right, random_weights(&b, LMB_ROLE_PARAMETER, "again.w", LMB_SHAPE(4, 5, 4, 4))), LMB_NO_ATTRS);
    lmb_vid z = lmb_emit(&b, "Flatten", NULL, LMB_IN(again), LMB_NO_ATTRS);
    lmb_emit_output(&b, "logits", lmb_emit(&b, "Add", NULL, LMB_IN(y, z), LMB_NO_ATTRS));
    ck_ok(lmb_builder_status(&b));
    return g;
}

static lmb_graph *make(int which)
{
    lmb_graph *g;

    err = (lmb_error)LMB_ERROR_INIT;
    if (strcmp(models[which], "concat") == 0) {
        g = concat_model();
    } else {
        g = built(models[which]);
    }
    fill(g);
    return g;
}

static double parameters_of(const lmb_graph *g)
{
    lmb_state_layout *l;
    ck_ok(lmb_state_layout_create(g, &l, &err));
    double n = (double)lmb_state_parameters(l);
    lmb_state_layout_destroy(l);
    return n;
}

/* The whole model with what makes the lost channels at zero. What reads them is left as it is. */
static lmb_graph *masked(const lmb_graph *g, const lmb_axis_map *map, const lmb_lineage *lineage)
{
    lmb_graph *m;
    lmb_state_layout *l;

    ck_ok(lmb_graph_copy(g, &m, &err));
    ck_ok(lmb_state_layout_create(g, &l, &err));
    for (int k = 0; k < map->n_classes; k++)
        for (int j = 0; j < map->class[k].n_members; j++) {
            const lmb_axis_member *x = &map->class[k].member[j];
            int row = 0;
            while (row < l->n && l->segment[row].value != x->value)
                row++;
            if (!x->makes || row == l->n || lineage->row[row].kept[x->axis].n < 0)
                continue;
            const lmb_kept *kept = &lineage->row[row].kept[x->axis];
            const lmb_shape *s = &l->segment[row].shape;
            int64_t inner = 1;
            float *data = malloc(sizeof *data * l->segment[row].count);
            memcpy(data, m->value[x->value].data, sizeof *data * l->segment[row].count);
            for (int a = x->axis + 1; a < s->n; a++)
                inner *= s->d[a];
            for (int64_t i = 0; i < (int64_t)l->segment[row].count; i++) {
                bool there = false;
                for (int64_t e = 0; e < kept->n; e++)
                    there |= kept->index[e] == i / inner % s->d[x->axis];
                if (!there)
                    data[i] = 0;
            }
            ck_ok(lmb_graph_set_data(m, x->value, data, &err));
            free(data);
        }
    lmb_state_layout_destroy(l);
    return m;
}

static const lmb_prune_channels targets[] = {
    { .criterion = "l1", .keep = 0.5, .min_channels = 1, .round_to = 1 },
    { .criterion = "l1", .macs = 0.4, .min_channels = 2, .round_to = 1, .scope = LMB_SCOPE_LAYER },
    { .criterion = "l1", .parameters = 0.6, .min_channels = 1, .round_to = 2 },
};

START_TEST(a_smaller_model_is_the_masked_one)
{
    lmb_graph *g = make(_i);
    lmb_axis_map *map;
    ck_ok(lmb_axis_map_create(g, &map, &err));
    for (int t = 0; t < LMB_COUNT(targets); t++) {
        lmb_graph *small;
        lmb_lineage *lineage;
        float y[3][8], far = 0, size = 0;
        ck_ok(lmb_pass_prune_channels(g, &targets[t], &small, &lineage, &err));
        ck_assert_msg(parameters_of(small) < 0.8 * parameters_of(g), "%s: %g of %g parameters", models[_i],
                      parameters_of(small), parameters_of(g));
        lmb_graph *m = masked(g, map, lineage);
        answer(g, y[0]);
        answer(m, y[1]);
        answer(small, y[2]);
        int64_t n = lmb_shape_count(&g->value[g->output[0].value].shape);
        for (int64_t i = 0; i < n; i++) {
            far = fmaxf(far, fabsf(y[0][i] - y[1][i]));
            size = fmaxf(size, fabsf(y[1][i]));
            ck_assert_msg(fabsf(y[1][i] - y[2][i]) <= 1e-4f * (1 + size),
                          "%s, target %d, logit %d: masked %g, smaller %g", models[_i], t, (int)i, (double)y[1][i],
                          (double)y[2][i]);
        }
        ck_assert_msg(far > 1e-4f * size, "%s, target %d: the mask changes nothing", models[_i], t);
        lmb_graph_destroy(m);
        lmb_graph_destroy(small);
        lmb_lineage_destroy(lineage);
    }
    lmb_axis_map_destroy(map);
    lmb_graph_destroy(g);
}
END_TEST

/* Carried along the lineage, the whole state is the small one. */
START_TEST(lineage_carries_what_is_as_long_as_the_state)
{
    const lmb_prune_channels c = { .criterion = "l1", .keep = 0.6, .min_channels = 1, .round_to = 1 };
    lmb_graph *g = make(_i), *small;
    lmb_lineage *lineage;
    lmb_state_layout *was, *is;

    ck_ok(lmb_pass_prune_channels(g, &c, &small, &lineage, &err));
    ck_ok(lmb_state_layout_create(g, &was, &err));
    ck_ok(lmb_state_layout_create(small, &is, &err));
    ck_assert_uint_eq(lineage->count_was, was->count);
    ck_assert_uint_eq(lineage->count, is->count);
    ck_assert_int_eq(lineage->n, is->n);
    float *whole = malloc(sizeof *whole * was->count), *left = malloc(sizeof *left * is->count),
          *carried = calloc(is->count, sizeof *carried);
    lmb_state_from_graph(was, g, whole);
    lmb_state_from_graph(is, small, left);
    lmb_lineage_carry(lineage, whole, carried);
    ck_assert_mem_eq(carried, left, sizeof *left * is->count);
    for (int i = 0; i < is->n; i++)
        ck_assert_str_eq(was->segment[i].name, is->segment[i].name);
    free(whole);
    free(left);
    free(carried);
    lmb_state_layout_destroy(was);
    lmb_state_layout_destroy(is);
    lmb_lineage_destroy(lineage);
    lmb_graph_destroy(small);
    lmb_graph_destroy(g);
}
END_TEST

static const lmb_axis_class *class_of(const lmb_graph *g, const lmb_axis_map *m, const char *weight)
{
    for (int k = 0; k < m->n_classes; k++)
        if (m->class[k].label != LMB_NONE && strcmp(g->value[m->class[k].label].name, weight) == 0)
            return &m->class[k];
    return NULL;
}

static bool has_member(const lmb_graph *g, const lmb_axis_class *c, const char *name, int axis, bool makes)
{
    for (int i = 0; i < c->n_members; i++)
        if (strcmp(g->value[c->member[i].value].name, name) == 0 && c->member[i].axis == axis)
            return c->member[i].makes == makes;
    return false;
}

/* Derived by hand from the pictures of the models. */
START_TEST(classes_are_those_of_the_model)
{
    lmb_axis_map *m;
    lmb_graph *g = make(
        0); /* ResNet-8: stem and first block's second convolution, one inner class a block, two wider sums, the head */
    ck_ok(lmb_axis_map_create(g, &m, &err));
    const lmb_axis_class *stem = class_of(g, m, "stem.conv.weight"), *head = class_of(g, m, "head.weight");
    ck_assert_ptr_nonnull(stem);
    ck_assert_int_eq(stem->channels, 6);
    ck_assert(stem->prunable);
    ck_assert(has_member(g, stem, "stage1.0.2.conv.weight", 0, true));
    ck_assert(has_member(g, stem, "stage1.0.1.conv.weight", 1, false));
    ck_assert(has_member(g, stem, "stage2.0.skip.conv.weight", 1, false));
    ck_assert_ptr_nonnull(head);
    ck_assert(!head->prunable);
    ck_assert_msg(strstr(head->why, "output logits") != NULL, "%s", head->why);
    int prunable = 0;
    for (int k = 0; k < m->n_classes; k++)
        prunable += m->class[k].prunable;
    ck_assert_int_eq(prunable, 6);
    lmb_axis_map_destroy(m);
    lmb_graph_destroy(g);

    g = make(7); /* both halves of the joined axis are classes of their own */
    ck_ok(lmb_axis_map_create(g, &m, &err));
    const lmb_axis_class *left = class_of(g, m, "left.w"), *right = class_of(g, m, "right.w");
    ck_assert_int_eq(left->channels, 7);
    ck_assert_int_eq(right->channels, 5);
    ck_assert(left->prunable && right->prunable);
    ck_assert(has_member(g, left, "scale", 0, true) && has_member(g, right, "scale", 0, true));
    ck_assert(has_member(g, right, "again.w", 1, false) && !has_member(g, left, "again.w", 1, false));
    ck_assert(has_member(g, left, "head.w", 0, false) && has_member(g, right, "head.w", 0, false));
    lmb_axis_map_destroy(m);
    lmb_graph_destroy(g);
}
END_TEST

/* Known by hand: the smallest |scale| and the smallest filters go. */
START_TEST(criteria_choose_the_least)
{
    const float scale[8] = { 5, -1, 3, -7, 0.5f, 4, 9, 2 };
    lmb_graph *g = make(4), *small;
    lmb_vid gamma = lmb_graph_find(g, "layer1.bn.scale");
    ck_assert_int_eq(g->value[gamma].shape.d[0], 8);
    ck_ok(lmb_graph_set_data(g, gamma, scale, &err));
    const lmb_prune_channels c = {
        .criterion = "bn_scale", .keep = 0.5, .min_channels = 1, .round_to = 1, .scope = LMB_SCOPE_LAYER
    };
    ck_ok(lmb_pass_prune_channels(g, &c, &small, NULL, &err));
    const lmb_value *left = &small->value[lmb_graph_find(small, g->value[gamma].name)];
    const float want[4] = { 5, -7, 4, 9 };
    ck_assert_int_eq(left->shape.d[0], 4);
    ck_assert_mem_eq(left->data, want, sizeof want);
    lmb_graph_destroy(small);

    float *w = calloc(8 * 27, sizeof *w);
    for (int i = 0; i < 8 * 27; i++)
        w[i] = (i % 2 ? -1.0f : 1.0f) * fabsf(scale[i / 27]);
    ck_ok(lmb_graph_set_data(g, lmb_graph_find(g, "layer1.conv.weight"), w, &err));
    free(w);
    const lmb_prune_channels norms = {
        .criterion = "l1", .keep = 0.5, .min_channels = 1, .round_to = 1, .scope = LMB_SCOPE_LAYER
    };
    ck_ok(lmb_pass_prune_channels(g, &norms, &small, NULL, &err));
    left = &small->value[lmb_graph_find(small, g->value[gamma].name)];
    ck_assert_mem_eq(left->data, want, sizeof want);
    lmb_graph_destroy(small);
    lmb_graph_destroy(g);
}
END_TEST

START_TEST(floors_and_multiples_hold)
{
    const lmb_prune_channels c = { .criterion = "bn_scale", .parameters = 0.5, .min_channels = 3, .round_to = 4 };
    lmb_graph *g = make(3), *small;
    lmb_axis_map *m;
    ck_ok(lmb_pass_prune_channels(g, &c, &small, NULL, &err));
    ck_assert_double_le(parameters_of(small), 0.5 * parameters_of(g));
    ck_ok(lmb_axis_map_create(small, &m, &err));
    for (int k = 0; k < m->n_classes; k++)
        ck_assert(!m->class[k].prunable || (m->class[k].channels >= 4 && m->class[k].channels % 4 == 0));
    lmb_axis_map_destroy(m);
    lmb_graph_destroy(small);
    lmb_graph_destroy(g);
}
END_TEST

static void refuse(const lmb_graph *g, lmb_prune_channels c, lmb_status want, const char *word)
{
    lmb_graph *small;
    err = (lmb_error)LMB_ERROR_INIT;
    ck_assert_int_eq(lmb_pass_prune_channels(g, &c, &small, NULL, &err), want);
    ck_assert_msg(strstr(err.msg, word) != NULL, "%s", err.msg);
}

START_TEST(what_cannot_be_is_refused_with_a_sentence)
{
    lmb_graph *lenet = make(5);
    refuse(lenet, (lmb_prune_channels){ .criterion = "l1", .min_channels = 1, .round_to = 1 }, LMB_E_ARG, "one target");
    refuse(lenet, (lmb_prune_channels){ .criterion = "l1", .keep = 0.5, .macs = 0.5, .min_channels = 1, .round_to = 1 },
           LMB_E_ARG, "one target");
    refuse(lenet, (lmb_prune_channels){ .criterion = "l9", .keep = 0.5, .min_channels = 1, .round_to = 1 }, LMB_E_ARG,
           "bn_scale, l1");
    refuse(lenet, (lmb_prune_channels){ .criterion = "bn_scale", .keep = 0.5, .min_channels = 1, .round_to = 1 },
           LMB_E_ARG, "use criterion l1");
    refuse(lenet, (lmb_prune_channels){ .criterion = "l1", .macs = 0.001, .min_channels = 4, .round_to = 1 }, LMB_E_ARG,
           "min_channels 4");
    lmb_graph_destroy(lenet);

    /* Softmax over the channels: none may go, and it is said why. */
    lmb_graph *g;
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(1, 3, 4, 4), NULL);
    lmb_vid y = lmb_emit(&b, "Conv", "c1",
                         LMB_IN(x, random_weights(&b, LMB_ROLE_PARAMETER, "w1", LMB_SHAPE(6, 3, 1, 1))), LMB_NO_ATTRS);
    y = lmb_emit(&b, "Softmax", "attention", LMB_IN(y), LMB_ATTRS(LMB_AINT("axis", 1)));
    y = lmb_emit(&b, "Conv", "c2", LMB_IN(y, random_weights(&b, LMB_ROLE_PARAMETER, "w2", LMB_SHAPE(2, 6, 4, 4))),
                 LMB_NO_ATTRS);
    lmb_emit_output(&b, "logits", y);
    ck_ok(lmb_builder_status(&b));
    refuse(g, (lmb_prune_channels){ .criterion = "l1", .keep = 0.5, .min_channels = 1, .round_to = 1 },
           LMB_E_UNSUPPORTED, "attention");
    lmb_graph_destroy(g);
}
END_TEST

/* Channels in another order, as many as before: the last first, or moved by one. None is the one of its number. */
START_TEST(channels_that_change_places_stay)
{
    static const int64_t last = -1, all = -100, axis = 1, back = -1, pads[8] = { 0, 1, 0, 0, 0, -1, 0, 0 };
    lmb_graph *g;

    err = (lmb_error)LMB_ERROR_INIT;
    ck_ok(lmb_graph_create(&g, &err));
    lmb_builder b = lmb_builder_of(g, &err);
    lmb_vid x = lmb_emit_value(&b, LMB_ROLE_INPUT, "x", LMB_F32, LMB_SHAPE(1, 3, 4, 4), NULL);
    lmb_vid y = lmb_emit(&b, "Conv", "c1",
                         LMB_IN(x, random_weights(&b, LMB_ROLE_PARAMETER, "w1", LMB_SHAPE(6, 3, 1, 1))), LMB_NO_ATTRS);
    y = _i ? lmb_emit(&b, "Pad", "turned", LMB_IN(y, lmb_emit_ints(&b, pads, 8)), LMB_NO_ATTRS)
           : lmb_emit(&b, "Slice", "turned",
                      LMB_IN(y, lmb_emit_ints(&b, &last, 1), lmb_emit_ints(&b, &all, 1), lmb_emit_ints(&b, &axis, 1),
                             lmb_emit_ints(&b, &back, 1)),
                      LMB_NO_ATTRS);
    y = lmb_emit(&b, "Conv", "c2", LMB_IN(y, random_weights(&b, LMB_ROLE_PARAMETER, "w2", LMB_SHAPE(2, 6, 4, 4))),
                 LMB_NO_ATTRS);
    lmb_emit_output(&b, "logits", y);
    ck_ok(lmb_builder_status(&b));
    refuse(g, (lmb_prune_channels){ .criterion = "l1", .keep = 0.5, .min_channels = 1, .round_to = 1 },
           LMB_E_UNSUPPORTED, "turned");
    lmb_graph_destroy(g);
}
END_TEST

LMB_TEST_MAIN("distill/prune_channels", add_loop(a_smaller_model_is_the_masked_one, MODELS);
              add_loop(lineage_carries_what_is_as_long_as_the_state, MODELS); add(classes_are_those_of_the_model);
              add(criteria_choose_the_least); add(floors_and_multiples_hold);
              add(what_cannot_be_is_refused_with_a_sentence); add_loop(channels_that_change_places_stay, 2);)
