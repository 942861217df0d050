"""Errors of depth as the evaluation code of BTS and AdaBins has them, in float64 NumPy.

    python3 test/golden/make/depth_metrics.py < INPUT    INPUT: JSON lists truth, predicted ([images, pixels]) and counted (pixels of the crop), and most

Prints a JSON list of [rmse, abs_rel, delta1, delta2, delta3] an image; null where no pixel counts.
"""

import json
import sys

import numpy as np

given = json.load(sys.stdin)
inside = np.asarray(given["counted"], bool)
out = []
for truth, predicted in zip(np.asarray(given["truth"]), np.asarray(given["predicted"])):
    valid = inside & (truth > 0) & (truth <= given["most"])
    t, p = truth[valid], predicted[valid]
    if t.size == 0:
        out.append(None)
        continue
    ratio = np.maximum(p / t, t / p)
    errors = [np.sqrt(np.mean((t - p) ** 2)), np.mean(np.abs(t - p) / t)]
    out.append(errors + [np.mean(ratio < 1.25**k) for k in (1, 2, 3)])
print(json.dumps(out))
