"""Runs a model in ONNX Runtime over every test image and compares its logits with ours.

usage: compare_onnxruntime.py MODEL.onnx LOGITS.npy IMAGES exact|close [plain]
  IMAGES  IDX format (.gz), or CIFAR's test_batch.bin
  exact  not one bit of one logit may differ (integer models, on x86 with VNNI)
  close  1e-4 relative to the largest logit, and the same class but for ties (float models)
  plain  without ONNX Runtime's graph optimisations
"""
import gzip
import sys

import numpy as np
import onnxruntime as ort

model, ours, images, how = sys.argv[1:5]
plain = sys.argv[5:] == ["plain"]
y = np.load(ours)
with (gzip.open if images.endswith(".gz") else open)(images, "rb") as f:
    raw = f.read()
if images.endswith(".bin"):
    x = np.frombuffer(raw, np.uint8).reshape(-1, 3073)[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32)
else:
    h, w = int.from_bytes(raw[8:12], "big"), int.from_bytes(raw[12:16], "big")
    x = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 1, h, w).astype(np.float32)
o = ort.SessionOptions()
o.intra_op_num_threads = 1
if plain:
    o.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
s = ort.InferenceSession(model, o, providers=["CPUExecutionProvider"])
name = s.get_inputs()[0].name
z = np.concatenate([s.run(None, {name: x[k:k + 100]})[0] for k in range(0, len(x), 100)])
assert z.shape == y.shape, (z.shape, y.shape)
differ = int((z != y).sum())
flips = int((z.argmax(1) != y.argmax(1)).sum())
far = float(np.abs(z - y).max() / np.abs(y).max())
print(f"{model}: ONNX Runtime {ort.__version__}: {differ} of {y.size} logits differ, by at most {far:.2g} of the largest; {flips} of {len(y)} classes")
sys.exit(0 if (differ == 0 if how == "exact" else far < 1e-4 and flips <= 2) else 1)
