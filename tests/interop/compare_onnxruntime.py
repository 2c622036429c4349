"""Runs a model in ONNX Runtime over every test image and compares its logits with ours.

usage: compare_onnxruntime.py MODEL.onnx LOGITS.npy IMAGES(.gz, IDX format) exact|close
  exact  not one bit of one logit may differ (integer models, on x86 with VNNI)
  close  1e-4 relative to the largest logit, and the same class but for ties (float models)
"""
import gzip
import sys

import numpy as np
import onnxruntime as ort

model, ours, images, how = sys.argv[1:5]
y = np.load(ours)
with (gzip.open if images.endswith(".gz") else open)(images, "rb") as f:
    raw = f.read()
h, w = int.from_bytes(raw[8:12], "big"), int.from_bytes(raw[12:16], "big")
x = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 1, h, w).astype(np.float32)
o = ort.SessionOptions()
o.intra_op_num_threads = 1
s = ort.InferenceSession(model, o, providers=["CPUExecutionProvider"])
name = s.get_inputs()[0].name
z = np.concatenate([s.run(None, {name: x[k:k + 100]})[0] for k in range(0, len(x), 100)])
assert z.shape == y.shape, (z.shape, y.shape)
differ = int((z != y).sum())
flips = int((z.argmax(1) != y.argmax(1)).sum())
far = float(np.abs(z - y).max() / np.abs(y).max())
print(f"{model}: ONNX Runtime {ort.__version__}: {differ} of {y.size} logits differ, by at most {far:.2g} of the largest; {flips} of {len(y)} classes")
sys.exit(0 if (differ == 0 if how == "exact" else far < 1e-4 and flips <= 2) else 1)
