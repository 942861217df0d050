"""Rankings and scores of NumPy for test/probes/retrieval: python retrieval.py > test/golden/retrieval.json. Needs numpy.

Average precision is written out from the whole ranked list of hits; trapezoids join the precisions of neighbouring ranks (1 before the first).
"""

import json

import numpy as np

rng = np.random.default_rng(18)
SIZE, QUERIES, WIDTH, CLASSES, K = 80, 30, 6, 5, [1, 2, 5, 10]

centres = rng.normal(size=(CLASSES, WIDTH))
labels = rng.integers(0, CLASSES, SIZE)
database = (0.7 * centres[labels] + rng.normal(size=(SIZE, WIDTH))).round(3)
database[[40, 55, 71]] = database[12]  # ties, in part of other classes
asked = rng.integers(0, CLASSES, QUERIES)
queries = (0.7 * centres[asked] + rng.normal(size=(QUERIES, WIDTH))).round(3)
for q in range(10):  # these are images of the database
    queries[q], asked[q] = database[3 * q], labels[3 * q]
unlabelled = [5, 33, 64]
lists = []
for q in range(QUERIES):
    order, n = rng.permutation(SIZE).tolist(), rng.integers(1, 9, 3)
    cut = np.cumsum(n).tolist()
    easy, hard, junk = sorted(order[: cut[0]]), sorted(order[cut[0] : cut[1]]), sorted(order[cut[1] : cut[2]])
    lists.append({"easy": [] if q in (4, 9) else easy, "hard": [] if q in (7, 9) else hard, "junk": junk})


def hits_of(query, positives, junk):
    similarity = (database * query).sum(1) / np.sqrt((database**2).sum(1) * (query**2).sum())
    ranked = np.argsort(-similarity, kind="stable")
    return np.isin(ranked[~np.isin(ranked, junk)], positives)


def step(hits):
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return precision[hits].mean()


def trapezoid(hits):
    precision = np.concatenate([[1.0], np.cumsum(hits) / np.arange(1, len(hits) + 1)])
    return ((precision[:-1] + precision[1:]) / 2)[hits].mean()


def precision_at(hits, k):
    first = min(k, np.flatnonzero(hits).max() + 1)
    return hits[:first].sum() / first


by_class, by_lists = [], []
for q in range(QUERIES):
    own = [3 * q] if q < 10 else []
    positives = [i for i in range(SIZE) if labels[i] == asked[q] and i not in unlabelled + own]
    hits = hits_of(queries[q], positives, unlabelled + own)
    by_class.append({"map": step(hits), **{f"recall@{k}": float(hits[:k].any()) for k in K}})
    scores = {}
    easy, hard, junk = (lists[q][name] for name in ("easy", "hard", "junk"))
    for name, ok, out in (("easy", easy, junk + hard), ("medium", easy + hard, junk), ("hard", hard, junk + easy)):
        hits = hits_of(queries[q], ok, out)
        scores[f"map {name}"] = trapezoid(hits) if ok else None
        for k in K:
            scores[f"precision@{k} {name}"] = precision_at(hits, k) if ok else None
    by_lists.append(scores)

given = {"k": K, "unlabelled": unlabelled, "lists": lists}
given |= {"labels": labels.tolist(), "asked": asked.tolist()}
given |= {"database": database.tolist(), "queries": queries.tolist()}
print(json.dumps({**given, "by_class": by_class, "by_lists": by_lists}))
