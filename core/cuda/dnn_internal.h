/* core/cuda/dnn_internal.h - what describing (dnn.c) and planning (dnn_plan.c) share. */
#ifndef LMB_CORE_CUDA_DNN_INTERNAL_H
#define LMB_CORE_CUDA_DNN_INTERNAL_H

#include "core/cuda/dnn.h"

enum {
    LMBI_DNN_ENGINES = 32,
    LMBI_DNN_TENSORS = 8,
    LMBI_DNN_STAGES = 4
}; /* stages: convolution, sum, bias, activation */

struct lmbi_dnn {
    lmbi_dnn_form form;
    int64_t id[5]; /* of the operands in lmbi_dnn_operands, 0: none */
    int n_tensors, n_stages;
    cudnnBackendDescriptor_t tensor[LMBI_DNN_TENSORS], how[LMBI_DNN_STAGES], operation[LMBI_DNN_STAGES];
    cudnnBackendDescriptor_t graph, heuristics, variants, config[LMBI_DNN_ENGINES];
    struct planned {
        cudnnBackendDescriptor_t plan;
        int64_t workspace; /* bytes that it wants    */
        int64_t engine;    /* cuDNN's number         */
        int place;         /* see lmbi_dnn_plan_only */
    } made[LMBI_DNN_TRIED];
    int n_made, at; /* at: which of them runs */
};

lmb_status lmbi_dnn_make(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *out, lmb_error *err);
lmb_status lmbi_dnn_set(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                        int64_t n, const void *values, lmb_error *err);
lmb_status lmbi_dnn_finish(cudnnBackendDescriptor_t d, const char *doing, lmb_error *err);
void lmbi_dnn_drop(cudnnBackendDescriptor_t *d);

#endif
