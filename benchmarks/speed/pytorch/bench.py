"""Times whole CAPI training steps in PyTorch on synthetic batches made beforehand; prints one JSON line.

With --serve it reads lines `run N` and answers each with a JSON line of N step times, until its input ends, so that a
driver can alternate rounds with another program.
"""

import argparse
import json
import os
import statistics
import sys
import time

import torch
from capi_step import Batch, CapiTrainer, Recipe
from model import ModelSize

SIZES = {
    "image_size": 32,
    "patch": 4,
    "width": 192,
    "heads": 3,
    "depth": 12,
    "predictor_depth": 6,
    "registers": 16,
    "prototypes": 1024,
    "predicted": 7,
    "mask_ratio": 0.65,
    "batch": 64,
    "drop_path": 0.0,
    "threads": 2,
}


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", help="JSON file with any of the sizes; flags win over it")
    for name, value in SIZES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), help=f"default {value}")
    parser.add_argument("--steps", type=int, default=10, help="timed steps (default 10)")
    parser.add_argument("--warmup", type=int, default=3, help="steps before timing starts (default 3)")
    parser.add_argument("--compile", action="store_true", help="torch.compile the forward and backward passes")
    parser.add_argument("--serve", action="store_true", help="read `run N` lines instead of timing once")
    arguments = parser.parse_args()
    sizes = dict(SIZES)
    if arguments.config:
        with open(arguments.config, encoding="utf-8") as file:
            given = json.load(file)
        unknown = sorted(set(given) - set(SIZES))
        if unknown:
            parser.error(f"{arguments.config}: unknown {', '.join(unknown)}; known: {', '.join(SIZES)}")
        sizes |= given
    for name, value in sizes.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    return arguments


def synthetic_batches(sizes: argparse.Namespace, count: int = 4) -> list[Batch]:
    """Batches of random bytes with random visible patches and predicted ones among the masked."""
    patches = (sizes.image_size // sizes.patch) ** 2
    masked = int(patches * sizes.mask_ratio)
    offsets = torch.arange(sizes.batch)[:, None] * patches
    batches = []
    for _ in range(count):
        order = torch.rand(sizes.batch, patches).argsort(1)
        visible = order[:, masked:].sort(1).values + offsets
        predicted = order[:, : sizes.predicted] + offsets
        images = torch.randint(0, 256, (sizes.batch, 3, sizes.image_size, sizes.image_size), dtype=torch.uint8)
        batches.append(Batch(images, visible.flatten(), predicted.flatten()))
    return batches


class Timer:
    def __init__(self, sizes: argparse.Namespace) -> None:
        torch.manual_seed(0)
        size = ModelSize(
            patch=sizes.patch,
            width=sizes.width,
            heads=sizes.heads,
            depth=sizes.depth,
            predictor_depth=sizes.predictor_depth,
            registers=sizes.registers,
            prototypes=sizes.prototypes,
        )
        recipe = Recipe(drop_path=sizes.drop_path, steps=100_000, warmup=1_000)
        self.trainer = CapiTrainer(size, (sizes.image_size, sizes.image_size), recipe, compile=sizes.compile)
        self.batches = synthetic_batches(sizes)
        self.done = 0

    def run(self, steps: int) -> list[float]:
        """Milliseconds of each of `steps` training steps; the losses are read, as a training loop would."""
        times = []
        for _ in range(steps):
            batch = self.batches[self.done % len(self.batches)]
            start = time.perf_counter()
            result = self.trainer.step(batch)
            self.loss = result.capi_loss.item()
            times.append((time.perf_counter() - start) * 1e3)
            self.done += 1
        return times


def main() -> None:
    sizes = read_arguments()
    torch.set_num_threads(sizes.threads)
    torch.set_flush_denormal(True)
    timer = Timer(sizes)
    timer.run(sizes.warmup)

    def line(times: list[float]) -> str:
        median = statistics.median(times)
        return json.dumps(
            {
                "framework": "pytorch",
                "version": torch.__version__,
                "mode": "compile" if sizes.compile else "eager",
                "threads": torch.get_num_threads(),
                "pid": os.getpid(),
                "loss": timer.loss,
                "ms": [round(t, 3) for t in times],
                "median_ms": round(median, 3),
                "images_per_second": round(sizes.batch / median * 1e3, 2),
            }
        )

    if not sizes.serve:
        print(line(timer.run(sizes.steps)))
        return
    print(json.dumps({"ready": True, "framework": "pytorch", "version": torch.__version__}), flush=True)
    for request in sys.stdin:
        words = request.split()
        if len(words) != 2 or words[0] != "run" or not words[1].isdigit() or int(words[1]) < 1:
            print(json.dumps({"error": f"{request.strip()!r}: write `run N` with N of at least 1"}), flush=True)
            continue
        print(line(timer.run(int(words[1]))), flush=True)


if __name__ == "__main__":
    main()
