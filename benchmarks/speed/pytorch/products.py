"""Contender that times single matrix products: the shapes of our training step, and the square one that tells a machine's rate."""

import torch
from contender import serve, timed, versions


def operand(shape: list[int], batch_in_middle: bool, transposed: bool) -> torch.Tensor:
    """An operand as the step stores it, viewed as [..., rows, columns] of the product."""
    stored = torch.rand(shape) - 0.5
    view = stored.movedim(0, -2) if batch_in_middle else stored
    return view.mT if transposed else view


def prepare(setup: dict) -> tuple[dict, dict]:
    torch.set_num_threads(setup["threads"])
    torch.set_flush_denormal(True)

    @torch.inference_mode()
    def product(a: list[int], b: list[int], flags: dict, repeat: int, times: int) -> dict:
        """Milliseconds of one product: `times` measurements, each over `repeat` products in a row."""
        left = operand(a, flags["batchA"], flags["transA"])
        right = operand(b, flags["batchB"], flags["transB"])
        out = torch.matmul(left, right)

        def work() -> None:
            for _ in range(repeat):
                torch.matmul(left, right, out=out)

        work()
        found = timed(work, times)
        return {"ms": [t / repeat for t in found["ms"]]}

    return {"threads": torch.get_num_threads(), "versions": versions("torch")}, {"product": product}


if __name__ == "__main__":
    serve(prepare)
