"""Contender of `capi bench decode`: JPEG files by Pillow, then the arithmetic of torchvision's transforms, written out.

torchvision itself is not needed: its Resize, CenterCrop, RandomResizedCrop and flip call Pillow, and ToTensor and Normalize are the three
operations below. With `way` "threads" a thread pool decodes (Pillow lets go of the interpreter while it decodes and resizes), with
"processes" the worker processes of torch's own DataLoader.
"""

import math
import os
import random
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count as naturals
from itertools import islice

import numpy as np
import torch
from contender import serve, timed, versions
from PIL import Image
from safetensors.torch import save_file
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
AHEAD = 2  # batches that DataLoader keeps ready a worker, its default


def center(image: Image.Image, setup: dict) -> Image.Image:
    """Resize the shorter side, then CenterCrop."""
    (width, height), resize, side = image.size, setup["resize"], setup["side"]
    short, long = min(width, height), max(width, height)
    longer = int(resize * long / short)
    image = image.resize((resize, longer) if width <= height else (longer, resize), Image.Resampling.BICUBIC)
    left, top = round((image.width - side) / 2), round((image.height - side) / 2)
    return image.crop((left, top, left + side, top + side))


def random_box(width: int, height: int, setup: dict) -> tuple[int, int, int, int]:
    """RandomResizedCrop.get_params: left, top, right, bottom."""
    low, high = (math.log(r) for r in setup["cropRatio"])
    for _ in range(10):
        area = width * height * random.uniform(*setup["cropScale"])
        ratio = math.exp(random.uniform(low, high))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            left, top = random.randint(0, width - w), random.randint(0, height - h)
            return left, top, left + w, top + h
    return 0, 0, width, height


def crop(image: Image.Image, box: tuple[int, int, int, int], side: int) -> Image.Image:
    return image.crop(box).resize((side, side), Image.Resampling.BICUBIC)


def to_tensor(image: Image.Image, floats: bool) -> torch.Tensor:
    """ToTensor and Normalize; or the bytes, channels first."""
    pixels = torch.from_numpy(np.array(image, copy=True)).permute(2, 0, 1).contiguous()
    return pixels.to(torch.float32).div_(255).sub_(MEAN).div_(STD) if floats else pixels


def load(path: str, setup: dict, task: str, floats: bool) -> torch.Tensor:
    with Image.open(path) as file:
        image = file.convert("RGB")
    if task == "evaluate":
        return to_tensor(center(image, setup), floats)
    image = crop(image, random_box(*image.size, setup), setup["side"])
    if random.random() < setup["flip"]:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return to_tensor(image, floats)


class Endless(IterableDataset):
    """The files round and round, each worker its own share."""

    def __init__(self, files: list[str], work) -> None:
        self.files, self.work = files, work

    def __iter__(self):
        worker = get_worker_info()
        torch.set_num_threads(1)
        for i in naturals(worker.id if worker else 0, worker.num_workers if worker else 1):
            yield self.work(self.files[i % len(self.files)])


def prepare(setup: dict) -> tuple[dict, dict]:
    torch.set_num_threads(1)
    folder, threads, batch = setup["images"], setup["threads"], setup["batch"]
    files = sorted(os.path.join(folder, name) for name in os.listdir(folder))

    def by_threads(work, count: int) -> dict:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, files[:threads]))  # the threads have started
            paths = [files[i % len(files)] for i in range(count)]

            def run() -> None:
                results = pool.map(work, paths)
                while part := list(islice(results, batch)):
                    torch.stack(part)

            return timed(run)

    def by_processes(work, count: int) -> dict:
        loader = DataLoader(Endless(files, work), batch_size=batch, num_workers=threads, prefetch_factor=AHEAD)
        batches = iter(loader)
        for _ in range(AHEAD * threads):  # as many are ready when the clock starts as when it stops
            next(batches)

        def run() -> None:
            for _ in range(math.ceil(count / batch)):
                next(batches)

        return timed(run)

    def run(task: str, floats: bool, count: int) -> dict:
        work = partial(load, setup=setup, task=task, floats=floats)
        found = (by_threads if setup["way"] == "threads" else by_processes)(work, count)
        each = {"ms": [t / count for t in found["ms"]], "median_ms": found["median_ms"] / count}
        # What worker processes use is known only when they have ended.
        return {**each, "cpu_ms": found["cpu_ms"] / count if setup["way"] == "threads" else None}

    def pixels(files: list[str], boxes: list[dict], file: str) -> dict:
        images = []
        for path, box in zip(files, boxes):
            with Image.open(path) as opened:
                image = opened.convert("RGB")
            left, top = box["left"], box["top"]
            edges = (left, top, left + box["width"], top + box["height"])
            images.append((crop(image, edges, setup["side"]), center(image, setup)))
        arrays = [np.array(image) for column in zip(*images) for image in column]
        save_file({"pixels": torch.from_numpy(np.stack(arrays).reshape(-1))}, file)
        return {}

    return {"threads": threads, "versions": versions("pillow", "torch", "numpy")}, {"run": run, "pixels": pixels}


if __name__ == "__main__":
    serve(prepare)
