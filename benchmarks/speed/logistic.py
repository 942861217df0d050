"""Logistic regression by scikit-learn and PyTorch, for logistic.js: reads commands from stdin, answers one line of JSON each.

Needs torch, numpy and scikit-learn. Arguments: folder width classes C threads.
"""

import json
import os
import sys
import time
import warnings

folder, width, classes, C, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(threads)

import numpy as np  # noqa: E402
import sklearn  # noqa: E402
import torch  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402

warnings.filterwarnings("ignore")
torch.set_num_threads(threads)
features = np.fromfile(os.path.join(folder, "features.bin"), dtype=np.float32).reshape(-1, width)
labels = np.fromfile(os.path.join(folder, "labels.bin"), dtype=np.uint8).astype(np.int64)


def objective(weight, bias):
    """C sum of -log p + half the squared weights, in float64."""
    total = 0.0
    for first in range(0, len(labels), 10000):
        z = features[first : first + 10000].astype(np.float64) @ weight.T + bias
        top = z.max(axis=1)
        own = z[np.arange(len(z)), labels[first : first + 10000]]
        total += (top + np.log(np.exp(z - top[:, None]).sum(axis=1)) - own).sum()
    return C * total + 0.5 * (weight**2).sum()


def fit_sklearn(tolerance):
    model = LogisticRegression(C=C, tol=tolerance, max_iter=5000)
    start = time.perf_counter()
    model.fit(features, labels)
    seconds = time.perf_counter() - start
    found = objective(model.coef_.astype(np.float64), model.intercept_.astype(np.float64))
    return {"seconds": seconds, "objective": found, "passes": int(model.n_iter_[0])}


class Reached(Exception):
    pass


def fit_torch(target):
    """L-BFGS with the strong Wolfe search, until a pass meets the target."""
    start = time.perf_counter()
    x, y = torch.from_numpy(features), torch.from_numpy(labels)
    weight = torch.zeros(classes, width, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias], lr=1, max_iter=5000, max_eval=10000, history_size=10, tolerance_grad=0, tolerance_change=0,
        line_search_fn="strong_wolfe",
    )
    scale = 1 / (C * len(y))
    passes = 0

    def closure():
        nonlocal passes
        passes += 1
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(x @ weight.T + bias, y) + 0.5 * scale * weight.square().sum()
        if loss.item() / scale <= target:
            raise Reached
        loss.backward()
        return loss

    try:
        optimiser.step(closure)
    except Reached:
        pass
    seconds = time.perf_counter() - start
    found = objective(weight.detach().double().numpy(), bias.detach().double().numpy())
    return {"seconds": seconds, "objective": found, "passes": passes}


print(json.dumps({"scikit-learn": sklearn.__version__, "PyTorch": torch.__version__}), flush=True)
for line in sys.stdin:
    command, value = json.loads(line)
    if command == "objective":
        theta = np.fromfile(value, dtype=np.float64).reshape(-1, width + 1)
        print(json.dumps(objective(theta[:, :-1], theta[:, -1])), flush=True)
    else:
        print(json.dumps({"scikit-learn": fit_sklearn, "PyTorch": fit_torch}[command](value)), flush=True)
