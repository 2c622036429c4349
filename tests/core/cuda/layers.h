/* tests/core/cuda/layers.h - cases of layers of the networks that are measured (ResNet-18 and ResNet-8 of CIFAR,
 * WRN-28-10, MobileNetV2, ResNet-50), a few samples each: what is no convolution or product. For every_op.h, and, with
 * double in place of float, for doubles.c. */
#ifndef LMB_TESTS_CORE_CUDA_LAYERS_H
#define LMB_TESTS_CORE_CUDA_LAYERS_H

#include "core/check/check.h"

#define MAP(n, c, h, w) { LMB_CASE_FIXED, { 4, { n, c, h, w } }, -1, 1, { 0 } }
#define ROWS(n, c, lo, hi) { LMB_CASE_FIXED, { 2, { n, c } }, lo, hi, { 0 } }
#define LINE(c, lo, hi) { LMB_CASE_FIXED, { 1, { c } }, lo, hi, { 0 } }
#define ONE { LMB_CASE_FIXED, { 0, { 0 } }, 1, 1, { 0 } }
#define CLASSES(n, c) { LMB_CASE_LABELS, { 1, { n } }, 0, c, { 0 } }
#define WINDOW LMB_AINTS("kernel_shape", 3, 3), LMB_AINTS("strides", 2, 2), LMB_AINTS("pads", 1, 1, 1, 1)

/* scale, shift, mean, variance; of gradients: scale, shift, mean and 1 / deviation of the batch */
#define NORM(c) LINE(c, 0.5f, 1.5f), LINE(c, -1, 1), LINE(c, -1, 1), LINE(c, 0.5f, 2)
#define NORM_GRAD(c) LINE(c, 0.5f, 1.5f), LINE(c, -1, 1), LINE(c, -0.1f, 0.1f), LINE(c, 1.5f, 2)

static const lmb_op_case layer_cases[] = {
    { "BatchNormAct", "ResNet-50, first", { MAP(2, 64, 112, 112), NORM(64) }, { LMB_ATEXT("function", "Relu") }, 5 },
    { "BatchNormAct", "ResNet-50, sum", { MAP(2, 2048, 7, 7), NORM(2048), MAP(2, 2048, 7, 7) },
      { LMB_ATEXT("function", "Relu") }, 5 },
    { "BatchNormAct", "WRN-28-10", { MAP(4, 640, 8, 8), NORM(640) }, { LMB_ATEXT("function", "Relu") }, 5 },
    { "BatchNormAct", "MobileNetV2", { MAP(1, 144, 32, 32), NORM(144) },
      { LMB_ATEXT("function", "Clip"), LMB_AREAL("lo", 0), LMB_AREAL("hi", 6) }, 5 },
    { "BatchNormAct", "ResNet-8", { MAP(8, 16, 32, 32), NORM(16) }, { LMB_ATEXT("function", "Relu") }, 5 },
    { "BatchNormActGrad", "ResNet-50, first", { MAP(2, 64, 112, 112), MAP(2, 64, 112, 112), NORM_GRAD(64) },
      { LMB_ATEXT("function", "Relu") }, 3 },
    { "BatchNormActGrad", "WRN-28-10", { MAP(4, 640, 8, 8), MAP(4, 640, 8, 8), NORM_GRAD(640) },
      { LMB_ATEXT("function", "Relu") }, 3 },
    { "BatchNormActGrad", "MobileNetV2", { MAP(1, 144, 32, 32), MAP(1, 144, 32, 32), NORM_GRAD(144) },
      { LMB_ATEXT("function", "Clip"), LMB_AREAL("lo", 0), LMB_AREAL("hi", 6) }, 3 },
    { "BatchNormalization", "ResNet-50", { MAP(2, 1024, 14, 14), NORM(1024) }, { LMB_AINT("training_mode", 1) }, 3 },
    { "BatchNormGrad", "ResNet-50",
      { MAP(2, 1024, 14, 14), MAP(2, 1024, 14, 14), LINE(1024, 0.5f, 1.5f), LINE(1024, -0.1f, 0.1f),
        LINE(1024, 0.5f, 2) },
      { LMB_AINT("training_mode", 1) }, 3 },
    { "MaxPool", "ResNet-50", { MAP(2, 64, 112, 112) }, { WINDOW } },
    { "MaxPoolGrad", "ResNet-50", { MAP(2, 64, 56, 56), MAP(2, 64, 112, 112) },
      { WINDOW, LMB_AINTS("shape", 2, 64, 112, 112) } },
    { "GlobalAveragePool", "ResNet-50", { MAP(4, 2048, 7, 7) } },
    { "GlobalAveragePool", "WRN-28-10", { MAP(4, 640, 8, 8) } },
    { "Add", "ResNet-50", { MAP(2, 256, 56, 56), MAP(2, 256, 56, 56) } },
    { "SumTo", "ResNet-50, bias", { ROWS(256, 1000, -1, 1) }, { LMB_AINTS("shape", 1000) } },
    { "SoftmaxCrossEntropyLoss", "ResNet-50", { ROWS(64, 1000, -9, 9), CLASSES(64, 1000) } },
    { "SoftmaxCrossEntropyLossGrad", "ResNet-50", { ONE, ROWS(64, 1000, -9, 9), CLASSES(64, 1000) } },
    { "KLDivergence", "WRN-28-10 to ResNet-20", { ROWS(512, 10, -9, 9), ROWS(512, 10, -9, 9) },
      { LMB_AREAL("temperature", 4) } },
    { "KLDivergenceGrad", "WRN-28-10 to ResNet-20", { ONE, ROWS(512, 10, -9, 9), ROWS(512, 10, -9, 9) },
      { LMB_AREAL("temperature", 4) } },
};
enum { LAYER_CASES = sizeof layer_cases / sizeof *layer_cases };

/* All cases of ops, then those of layers. */
static inline int op_cases(void)
{
    int n = 0;
    while (lmb_op_cases[n].op)
        n++;
    return n;
}
static inline const lmb_op_case *any_case(int i)
{
    return i < op_cases() ? &lmb_op_cases[i] : &layer_cases[i - op_cases()];
}

#endif
