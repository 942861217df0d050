"""Contender of `capi bench pretrain`: whole CAPI training steps on the weights, images and masks of a work file.

The work file (safetensors, written by src/bench/workload.ts) holds the parameters under their official names, `images` as bytes
[batches, B, h, w, 3], and for each step `visible` [steps, B * V], `predicted` [steps, B * P] and perhaps `kept` [steps, branches, kept].
"""

import itertools

import torch
from capi_step import Batch, CapiTrainer, Recipe
from contender import serve, timed, versions
from model import ModelSize
from safetensors.torch import load_file


def trainer_of(setup: dict, tensors: dict[str, torch.Tensor]) -> CapiTrainer:
    """A trainer that holds the parameters of the work file."""
    trainer = CapiTrainer(
        ModelSize(**setup["size"]),
        tuple(setup["image_size"]),
        Recipe(**{k: tuple(v) if isinstance(v, list) else v for k, v in setup["recipe"].items()}),
        compile=setup["mode"] == "compile",
        autocast=setup["mode"] == "bfloat16",
    )
    for prefix, module in (
        ("student.", trainer.student),
        ("student_ema.", trainer.student_ema),
        ("teacher.head.", trainer.clustering),
    ):
        module.load_state_dict({n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)})
    trainer.reset_optimisers()
    return trainer


def batches_of(tensors: dict[str, torch.Tensor]) -> list[Batch]:
    """One batch a step; images repeat, masks do not."""
    images = tensors["images"].permute(0, 1, 4, 2, 3).contiguous()
    kept = tensors.get("kept")
    return [
        Batch(
            images[step % len(images)],
            visible.long(),
            predicted.long(),
            None if kept is None else [row[row >= 0].long() for row in kept[step]],
        )
        for step, (visible, predicted) in enumerate(zip(tensors["visible"], tensors["predicted"]))
    ]


def prepare(setup: dict) -> tuple[dict, dict]:
    torch.set_num_threads(setup["threads"])
    torch.set_flush_denormal(True)
    tensors = load_file(setup["work"])
    batches = itertools.cycle(batches_of(tensors))
    torch.set_default_device(setup["device"])
    trainer = trainer_of(setup, tensors)
    del tensors
    losses: list[list[float]] = []

    def step() -> None:
        """One step; its loss is read, as a training loop would."""
        result = trainer.step(next(batches).to(setup["device"]))
        losses.append([result.capi_loss.item(), result.clustering_loss.item(), result.target_entropy.item()])

    def run(count: int) -> dict:
        losses.clear()
        return {**timed(step, count), "losses": list(losses)}

    return {"threads": torch.get_num_threads(), "versions": versions("torch")}, {"run": run}


if __name__ == "__main__":
    serve(prepare)
