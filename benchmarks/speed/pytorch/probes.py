"""Contender of `capi bench probes`: steps of a grid of classification heads, on stored features or with the encoder in the loop."""

import itertools

import torch
from contender import serve, timed, versions
from extract import Extractor
from heads import Modules, Stack, modules_of
from model import ModelSize
from safetensors.torch import load_file


def sources_of(features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Sources of the heads from what the encoder gives."""
    average = features["patches"].mean(1)
    return {
        "global": features["global"],
        "average_patch": average,
        "global+average_patch": torch.cat([features["global"], average], 1),
        "patches": features["patches"],
    }


def prepare(setup: dict) -> tuple[dict, dict]:
    torch.set_num_threads(setup["threads"])
    torch.set_flush_denormal(True)
    tensors = load_file(setup["work"])
    points, classes, sources = setup["points"], setup["classes"], setup["sources"]
    rates, decays, labels = tensors["rates"], tensors["decays"], tensors["labels"].long()
    heads = {
        source: {n.removeprefix(f"{source}/"): t for n, t in tensors.items() if n.startswith(f"{source}/")}
        for source in sources
    }
    heads_in_loss = points * len(sources)
    chosen = itertools.cycle(tensors["chosen"].long())
    if "encoder" in setup:
        weights = {n.removeprefix("backbone."): t for n, t in tensors.items() if n.startswith("backbone.")}
        size = setup["encoder"]
        extract = Extractor(ModelSize(**size["size"]), tuple(size["image_size"]), weights)
        images = tensors["images"].permute(0, 1, 4, 2, 3).contiguous()
        count = itertools.count()

        def batch() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
            pixels = images[next(count) % len(images)]
            features = {n: t.clone() for n, t in sources_of(extract(pixels)).items()}  # out of inference_mode
            return features, labels[: len(pixels)]
    else:
        stored = {source: tensors[f"features.{source}"] for source in sources}

        def batch() -> tuple[dict[str, torch.Tensor], torch.Tensor]:
            rows = next(chosen)
            return {source: x[rows] for source, x in stored.items()}, labels[rows]

    if setup["way"] == "stacked":
        stacks = {s: Stack(p, classes, rates, decays, heads_in_loss) for s, p in heads.items()}

        def step() -> dict[str, torch.Tensor]:
            features, wanted = batch()
            return {source: stack.step(features[source], wanted) for source, stack in stacks.items()}
    else:
        modules = Modules({s: modules_of(p, points, classes) for s, p in heads.items()}, rates, decays, heads_in_loss)

        def step() -> dict[str, torch.Tensor]:
            return modules.step(*batch())

    def run(count: int) -> dict:
        losses: list[list[float]] = []
        found = timed(lambda: losses.append(torch.cat(list(step().values())).tolist()), count)
        return {**found, "losses": losses}

    return {"threads": torch.get_num_threads(), "versions": versions("torch")}, {"run": run}


if __name__ == "__main__":
    serve(prepare)
