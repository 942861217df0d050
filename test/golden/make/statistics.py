"""Values of SciPy for test/report/statistics: python statistics.py > test/golden/statistics.json. Needs scipy.

Holm's adjustment is written out from its definition (Holm 1979), as SciPy has none.
"""

import json

import numpy as np
import scipy
from scipy import special, stats

rng = np.random.default_rng(0)


def holm(p):
    order = np.argsort(p)
    out = np.empty(len(p))
    running = 0.0
    for k, i in enumerate(order):
        running = max(running, min(1.0, (len(p) - k) * p[i]))
        out[i] = running
    return out.tolist()


dfs = [0.7, 1, 2, 3.4, 4, 8, 13.7, 28, 120, 5000]
beta = [(x, a, b) for x in (1e-6, 0.01, 0.3, 0.5, 0.77, 0.999) for a in (0.35, 1, 4.5, 60) for b in (0.5, 2, 33)]
lists = [
    (rng.normal(size=n).round(digits).tolist(), rng.normal(size=n).round(digits).tolist())
    for n, digits in ((3, 6), (6, 6), (14, 6), (14, 0), (40, 1))
]
p_lists = [rng.uniform(size=n).tolist() for n in (1, 3, 13)] + [(rng.uniform(size=13) ** 6).tolist()]
print(
    json.dumps(
        {
            "scipy": scipy.__version__,
            "beta": [[x, a, b, special.betainc(a, b, x)] for x, a, b in beta],
            "p": [[t, df, 2 * stats.t.sf(abs(t), df)] for df in dfs for t in (0, -0.3, 1, 2.5, 7, 40)],
            "quantile": [[level, df, stats.t.ppf(0.5 + level / 2, df)] for df in dfs for level in (0.5, 0.9, 0.95, 0.999)],
            "holm": [[p, holm(np.array(p))] for p in p_lists],
            "rank": [[a, b, stats.spearmanr(a, b).statistic, stats.kendalltau(a, b).statistic] for a, b in lists],
        }
    )
)
