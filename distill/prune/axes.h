/* distill/prune/axes.h - which channels of a graph belong together.
 *
 * Idea: every index of every axis of every value is a slot. Each op says which slots of its operands go together
 * (lmb_axes, core/graph/op.h): a convolution's filter k with channel k of its output, both addends of a residual
 * connection, the h * w columns of a flattened channel, the right place in a concatenation. Joined by union-find, the
 * slots fall into channels: a channel is there as a whole or not at all. Channels that run through the same axes form a
 * class. Slots are finer than whole axes, so that a concatenation needs no rules of its own: the halves of its axis are
 * different channels.
 *
 *   source   dependency groups: Fang et al. 2023 (DepGraph), arXiv:2301.12900, section 3; here the ops declare what
 *            DepGraph finds out from gradients
 *   owns     a map owns its arrays; ids of values are those of the graph it was made from
 *   threads  read-only once made
 */
#ifndef LMB_DISTILL_PRUNE_AXES_H
#define LMB_DISTILL_PRUNE_AXES_H

#include "core/graph/op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* An axis of a stored value that a class runs through. */
typedef struct lmb_axis_member {
    lmb_vid value;
    int axis;
    bool makes; /* a parameter whose slots make the channel (a filter, a scale), not one that reads it */
} lmb_axis_member;

typedef struct lmb_axis_class {
    int32_t first, channels; /* channel numbers [first, first + channels) */
    int n_members;
    lmb_axis_member *member; /* state and constants */
    lmb_vid label;           /* the first weight that makes it: its name is the class's */
    bool prunable;
    char why[160];           /* not prunable: a sentence about what holds it */
} lmb_axis_class;

typedef struct lmb_axis_map {
    int n_classes;
    lmb_axis_class *class;
    int32_t n_channels;
    int32_t *class_of;       /* [n_channels] */
    int32_t *channel;        /* [slots] channel number; -1: belongs to no class, is never taken away */
    size_t *first;           /* [values * LMB_MAX_DIMS] first slot of an axis */
} lmb_axis_map;

/* Classes are listed in the order of the graph; only those that weights make.
 *   errors  E_UNSUPPORTED for a graph of more than 2^28 slots */
LMB_MUST_CHECK lmb_status lmb_axis_map_create(const lmb_graph *g, lmb_axis_map **out, lmb_error *err);
void lmb_axis_map_destroy(lmb_axis_map *m);

/* The channel at index i of an axis, or -1. */
static inline int32_t lmb_axis_channel(const lmb_axis_map *m, lmb_vid v, int axis, int64_t i)
{
    return m->channel[m->first[(size_t)v * LMB_MAX_DIMS + (size_t)axis] + (size_t)i];
}

#ifdef __cplusplus
}
#endif
#endif
