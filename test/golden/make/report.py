"""Writes test/golden/report.json: a made ablation and what SciPy says of it: python3 report.py > test/golden/report.json. Needs numpy and scipy.

Five arms, three seeds, 150 test images. `cls` has hits for each image, `seg` pixel counts for each image and class. The differences to the
first arm are worked out from the definitions: s^2 pooled over arms, image variance of the seed-averaged paired difference (for `cls` the
variance of a bootstrap mean in closed form, for `seg` a bootstrap of 4,000 resamples over the classes of the whole test set), Satterthwaite,
Student's t, Holm. `collapsed` stays out of the pool and stands with its own variance.
"""

import json

import numpy as np
from scipy import stats

rng = np.random.default_rng(3)
ARMS, SEEDS, IMAGES, CLASSES = ["base", "a=1", "a=2", "b=x", "b=y"], 3, 150, 4
PAPER = {"base": 29.1, "a=1": 23.8, "a=2": 27.9, "b=x": 23.6, "b=y": 1.7}
COLLAPSED = "b=y"
quality = {"base": 0.62, "a=1": 0.55, "a=2": 0.6, "b=x": 0.64, "b=y": 0.2}
hard = rng.normal(size=IMAGES)
truth = np.zeros((IMAGES, CLASSES), int)
for i in range(IMAGES):
    present = rng.permutation(CLASSES - 1)[: rng.integers(1, 3)]  # the last class only where it is rare
    if i % 50 == 0:
        present = np.append(present, CLASSES - 1)
    truth[i, present] = rng.multinomial(64, np.ones(len(present)) / len(present))

cls, seg = {}, {}
for arm in ARMS:
    for seed in range(SEEDS):
        q = quality[arm] + rng.normal(scale=0.02)
        p = 1 / (1 + np.exp(-(np.log(q / (1 - q)) + hard)))
        cls[f"{arm}/{seed}"] = (rng.uniform(size=IMAGES) < p).astype(int)
        hits = rng.binomial(truth, np.clip(p, 0, 1)[:, None])
        predicted = hits.copy()
        for i in range(IMAGES):
            predicted[i] += rng.multinomial(64 - hits[i].sum(), np.ones(CLASSES) / CLASSES)
        seg[f"{arm}/{seed}"] = np.stack([hits, truth, predicted], -1)


def iou(counts, times):
    h, t, p = (counts * times[:, None, None]).sum(0).T.astype(float)
    return h, t, p


def mean_iou(counts):
    h, t, p = iou(counts, np.ones(IMAGES, int))
    return np.mean((h / (t + p - h))[t + p - h > 0])


def resampled(counts, times):
    full, own = iou(counts, np.ones(IMAGES, int)), iou(counts, times)
    values = []
    for c in range(CLASSES):
        union = own[1][c] + own[2][c] - own[0][c]
        values.append(own[0][c] / union if union else full[0][c] / (full[1][c] + full[2][c] - full[0][c]))
    return np.mean(values)


scores = {
    "cls.attentive": {arm: [float(cls[f"{arm}/{s}"].mean()) for s in range(SEEDS)] for arm in ARMS},
    "seg.knn": {arm: [float(mean_iou(seg[f"{arm}/{s}"])) for s in range(SEEDS)] for arm in ARMS},
}
draws = [np.bincount(rng.integers(IMAGES, size=IMAGES), minlength=IMAGES) for _ in range(4000)]
boot = {arm: np.array([[resampled(seg[f"{arm}/{s}"], t) for t in draws] for s in range(SEEDS)]).mean(0) for arm in ARMS}


def image_variance(column, arm):
    if column == "seg.knn":
        return float((boot[arm] - boot["base"]).var(ddof=1))
    d = np.mean([cls[f"{arm}/{s}"] for s in range(SEEDS)], 0) - np.mean([cls[f"base/{s}"] for s in range(SEEDS)], 0)
    return float(d.var() / IMAGES)


def holm(p):
    order, out, running = np.argsort(p), np.empty(len(p)), 0.0
    for k, i in enumerate(order):
        running = max(running, min(1.0, (len(p) - k) * p[i]))
        out[i] = running
    return out


expected = {}
for column, by_arm in scores.items():
    alike = [arm for arm in ARMS if arm != COLLAPSED]
    variances = {arm: np.var(by_arm[arm], ddof=1) for arm in ARMS}
    for arm in alike:  # no variance test sets an arm apart here
        rest = np.mean([variances[o] for o in alike if o != arm])
        f = stats.f(SEEDS - 1, (SEEDS - 1) * (len(alike) - 1)).cdf(variances[arm] / rest)
        assert 2 * min(f, 1 - f) > 0.01, (column, arm)
    pooled, df = np.mean([variances[a] for a in alike]), (SEEDS - 1) * len(alike)
    rows, p_values = {}, []
    for arm in ARMS[1:]:
        img = image_variance(column, arm)
        own = [(variances[arm] / SEEDS, SEEDS - 1), (pooled / SEEDS, df)] if arm == COLLAPSED else [(pooled * 2 / SEEDS, df)]
        parts = [(img, IMAGES - 1), *own]
        total = sum(v for v, _ in parts)
        dof = total**2 / sum(v**2 / d for v, d in parts)
        value = np.mean(by_arm[arm]) - np.mean(by_arm["base"])
        half = stats.t.ppf(0.975, dof) * np.sqrt(total)
        p = 2 * stats.t.sf(abs(value) / np.sqrt(total), dof)
        p_values.append(p)
        rows[arm] = {"difference": value, "low": value - half, "high": value + half, "standard_error": np.sqrt(total), "degrees_of_freedom": dof, "p": p, "image_variance": img}
    for arm, adjusted in zip(ARMS[1:], holm(np.array(p_values))):
        rows[arm]["p_holm"] = adjusted
    ours, paper = [np.mean(by_arm[a]) for a in ARMS], [PAPER[a] for a in ARMS]
    expected[column] = {
        "means": [float(m) for m in ours],
        "deviations": [float(np.std(by_arm[a], ddof=1)) for a in ARMS],
        "rows": {a: {k: float(v) for k, v in r.items()} for a, r in rows.items()},
        "spearman": float(stats.spearmanr(ours, paper).statistic),
        "kendall": float(stats.kendalltau(ours, paper).statistic),
    }
print(
    json.dumps(
        {
            "arms": ARMS, "seeds": SEEDS, "classes": CLASSES, "collapsed": COLLAPSED, "paper": PAPER, "scores": scores, "expected": expected,
            "cls": {k: "".join(map(str, v)) for k, v in cls.items()},
            "seg": {k: [[x for c in range(CLASSES) if image[c, 1] + image[c, 2] for x in (c, *map(int, image[c]))] for image in v] for k, v in seg.items()},
        }
    )
)
