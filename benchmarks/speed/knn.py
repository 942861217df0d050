"""k-NN search by scikit-learn and PyTorch, for knn.js: reads commands from stdin, answers one line of JSON each.

Needs torch, numpy and scikit-learn. Arguments: keys.bin queries.bin width k threads.
"""

import json
import os
import sys
import time

keys_file, queries_file, width, k, threads = sys.argv[1:3] + [int(x) for x in sys.argv[3:6]]
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(threads)

import numpy as np  # noqa: E402
import sklearn  # noqa: E402
import torch  # noqa: E402
from sklearn.neighbors import NearestNeighbors  # noqa: E402
from sklearn.preprocessing import normalize  # noqa: E402

torch.set_num_threads(threads)
keys = np.fromfile(keys_file, dtype=np.float32).reshape(-1, width)
queries = np.fromfile(queries_file, dtype=np.float32).reshape(-1, width)


def sklearn_cosine(q):
    found = NearestNeighbors(n_neighbors=k, algorithm="brute", metric="cosine").fit(keys)
    return found.kneighbors(q, return_distance=True)[1]


def sklearn_unit(q):
    """Euclidean neighbours of vectors of length 1 are the cosine neighbours, and take scikit-learn's fused search."""
    found = NearestNeighbors(n_neighbors=k, algorithm="brute", metric="euclidean").fit(normalize(keys))
    return found.kneighbors(normalize(q), return_distance=True)[1]


def torch_search(keys_at_once, queries_at_once):
    def search(q):
        unit = torch.nn.functional.normalize(torch.from_numpy(keys), dim=1)
        q = torch.nn.functional.normalize(torch.from_numpy(q), dim=1)
        out = []
        for part in q.split(queries_at_once):
            best = []
            for first in range(0, len(unit), keys_at_once):
                values, places = (part @ unit[first : first + keys_at_once].T).topk(k, dim=1)
                best.append((values, places + first))
            values, places = (torch.cat(x, dim=1) for x in zip(*best))
            out.append(places.gather(1, values.topk(k, dim=1).indices))
        return torch.cat(out).numpy()

    return search


ways = {
    "scikit-learn": {"cosine": sklearn_cosine, "euclidean on unit vectors": sklearn_unit},
    "PyTorch": {
        "262,144 keys x 1,024 queries": torch_search(262144, 1024),
        "262,144 keys x 128 queries": torch_search(262144, 128),
        "16,384 keys x 1,024 queries": torch_search(16384, 1024),
    },
}
print(json.dumps({"scikit-learn": sklearn.__version__, "PyTorch": torch.__version__}), flush=True)
for line in sys.stdin:
    library, way, count, answer = json.loads(line)
    if way is None:
        print(json.dumps(list(ways[library])), flush=True)
        continue
    start = time.perf_counter()
    found = ways[library][way](queries[:count])
    seconds = time.perf_counter() - start
    found.astype(np.int32).tofile(answer)
    print(json.dumps(seconds), flush=True)
