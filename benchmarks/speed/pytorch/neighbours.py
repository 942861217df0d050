"""Contender of `capi bench knn`: exact cosine neighbours by PyTorch or scikit-learn, in each of the ways that a user may choose."""

import numpy as np
from contender import serve, timed, versions
from safetensors.numpy import load_file, save_file


def sklearn_ways(keys: np.ndarray, k: int) -> dict:
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import normalize

    def cosine(queries: np.ndarray) -> np.ndarray:
        found = NearestNeighbors(n_neighbors=k, algorithm="brute", metric="cosine").fit(keys)
        return found.kneighbors(queries)[1]

    def unit(queries: np.ndarray) -> np.ndarray:
        """Euclidean neighbours of vectors of length 1 are the cosine neighbours, and take scikit-learn's fused search."""
        found = NearestNeighbors(n_neighbors=k, algorithm="brute", metric="euclidean").fit(normalize(keys))
        return found.kneighbors(normalize(queries))[1]

    return {"cosine": cosine, "euclidean on unit vectors": unit}


def torch_ways(keys: np.ndarray, k: int) -> dict:
    import torch

    def search(keys_at_once: int, queries_at_once: int):
        def find(queries: np.ndarray) -> np.ndarray:
            unit = torch.nn.functional.normalize(torch.from_numpy(keys), dim=1)
            queries = torch.nn.functional.normalize(torch.from_numpy(queries), dim=1)
            out = []
            for part in queries.split(queries_at_once):
                best = []
                for first in range(0, len(unit), keys_at_once):
                    values, places = (part @ unit[first : first + keys_at_once].T).topk(k, dim=1)
                    best.append((values, places + first))
                values, places = (torch.cat(x, dim=1) for x in zip(*best))
                out.append(places.gather(1, values.topk(k, dim=1).indices))
            return torch.cat(out).numpy()

        return find

    sizes = ((262144, 1024), (262144, 128), (16384, 1024))
    return {f"{a:,} keys x {b:,} queries at once": search(a, b) for a, b in sizes}


def prepare(setup: dict) -> tuple[dict, dict]:
    tensors = load_file(setup["work"])
    keys, queries = tensors["keys"], tensors["queries"]
    if setup["library"] == "PyTorch":
        import torch

        torch.set_num_threads(setup["threads"])
        ways = torch_ways(keys, setup["k"])
    else:
        ways = sklearn_ways(keys, setup["k"])
    found: list[np.ndarray] = []

    def run(way: str, count: int) -> dict:
        found.clear()
        return timed(lambda: found.append(ways[way](queries[:count])))

    def answer(file: str) -> dict:
        save_file({"indices": np.ascontiguousarray(found[0], dtype=np.int32)}, file)
        return {}

    packages = ("torch",) if setup["library"] == "PyTorch" else ("scikit-learn", "numpy")
    facts = {"threads": setup["threads"], "versions": versions(*packages), "ways": list(ways)}
    return facts, {"run": run, "answer": answer}


if __name__ == "__main__":
    serve(prepare)
