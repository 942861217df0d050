"""Contender of `capi bench logreg`: multinomial logistic regression by PyTorch or scikit-learn, and the judge of everyone's objective."""

import warnings

import numpy as np
from contender import serve, timed, versions
from safetensors.numpy import load_file

ROWS_AT_ONCE = 10_000


class Reached(Exception):
    """The target is met."""


def prepare(setup: dict) -> tuple[dict, dict]:
    import torch
    from sklearn.linear_model import LogisticRegression

    warnings.filterwarnings("ignore")
    torch.set_num_threads(setup["threads"])
    C, classes = setup["C"], setup["classes"]
    tensors = load_file(setup["work"])
    features, labels = tensors["features"], tensors["labels"].astype(np.int64)
    width = features.shape[1]

    def objective(weight: np.ndarray, bias: np.ndarray) -> float:
        """C sum of -log p + half the squared weights, in float64."""
        total = 0.0
        for first in range(0, len(labels), ROWS_AT_ONCE):
            part = slice(first, first + ROWS_AT_ONCE)
            z = features[part].astype(np.float64) @ weight.T + bias
            top = z.max(axis=1)
            own = z[np.arange(len(z)), labels[part]]
            total += (top + np.log(np.exp(z - top[:, None]).sum(axis=1)) - own).sum()
        return float(C * total + 0.5 * (weight**2).sum())

    def judge(file: str) -> dict:
        theta = load_file(file)["parameters"].reshape(-1, width + 1)
        return {"objective": objective(theta[:, :-1], theta[:, -1])}

    def by_sklearn(tolerance: float, target: float) -> dict:
        model = LogisticRegression(C=C, tol=tolerance, max_iter=5000)
        time = timed(lambda: model.fit(features, labels))
        found = objective(model.coef_.astype(np.float64), model.intercept_.astype(np.float64))
        return {**time, "objective": found, "passes": int(model.n_iter_[0])}

    def by_torch(tolerance: float, target: float) -> dict:
        """L-BFGS with the strong Wolfe search, until a pass meets the target."""
        passes, parameters = 0, []

        def fit() -> None:
            nonlocal passes
            x, y = torch.from_numpy(features), torch.from_numpy(labels)
            weight = torch.zeros(classes, width, requires_grad=True)
            bias = torch.zeros(classes, requires_grad=True)
            parameters.extend([weight, bias])
            optimiser = torch.optim.LBFGS(
                parameters, lr=1, max_iter=5000, max_eval=10000, history_size=10, tolerance_grad=0, tolerance_change=0,
                line_search_fn="strong_wolfe",
            )
            scale = 1 / (C * len(y))

            def closure() -> torch.Tensor:
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

        time = timed(fit)
        found = objective(*(p.detach().double().numpy() for p in parameters))
        return {**time, "objective": found, "passes": passes}

    pytorch = setup["library"] == "PyTorch"
    packages = ("torch",) if pytorch else ("scikit-learn", "numpy")
    facts = {"threads": setup["threads"], "versions": versions(*packages)}
    return facts, {"fit": by_torch if pytorch else by_sklearn, "judge": judge}


if __name__ == "__main__":
    serve(prepare)
