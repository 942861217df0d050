"""Contender of `capi bench extract`: bytes in, features of the frozen encoder out, under inference_mode."""

import torch
from capi_step import to_patches
from contender import serve, timed, versions
from model import Backbone, ModelSize, grid_coordinates
from safetensors.torch import load_file, save_file


class Extractor:
    """The encoder with the positions of whole images made once; mean and deviation are ImageNet's."""

    def __init__(self, size: ModelSize, image_size: tuple[int, int], weights: dict[str, torch.Tensor]) -> None:
        self.size, self.grid = size, tuple(n // size.patch for n in image_size)
        self.backbone = Backbone(size).eval()
        missing, unexpected = self.backbone.load_state_dict(weights, strict=False)
        # Evaluation reads the first block of the predictor only, so that no weights of later ones are stored.
        if unexpected or any(not name.startswith("decoder.blocks.") for name in missing):
            raise ValueError(f"weights that do not fit: missing {missing}, unexpected {unexpected}")
        coords = grid_coordinates(*self.grid).float()[None]
        with torch.inference_mode():
            self.at = self.backbone.positions(coords)
            self.with_registers_at = self.backbone.positions(self.backbone.with_registers(coords))

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Bytes [B, 3, h, w] -> global [B, D], registers [B, R, D], patches [B, N, D]."""
        encoded = self.backbone.encode(to_patches(images, self.size.patch, torch.float32), self.with_registers_at)
        pooled = self.backbone.predict(encoded, self.with_registers_at, self.at, depth=1).mean(1)
        registers, patches = encoded.split([self.size.registers, encoded.shape[1] - self.size.registers], 1)
        return {"global": pooled, "registers": registers, "patches": patches}


def prepare(setup: dict) -> tuple[dict, dict]:
    torch.set_num_threads(setup["threads"])
    torch.set_flush_denormal(True)
    tensors = load_file(setup["work"])
    images = list(tensors.pop("images").permute(0, 1, 4, 2, 3).contiguous())
    torch.set_default_device(setup["device"])
    weights = {n.removeprefix("backbone."): t for n, t in tensors.items()}
    extract = Extractor(ModelSize(**setup["size"]), tuple(setup["image_size"]), weights)
    done = 0

    def batch() -> None:
        nonlocal done
        for features in extract(images[done % len(images)].to(setup["device"])).values():
            features.cpu()
        done += 1

    def features(file: str) -> dict:
        save_file({n: t.cpu().contiguous() for n, t in extract(images[0].to(setup["device"])).items()}, file)
        return {}

    facts = {"threads": torch.get_num_threads(), "versions": versions("torch")}
    return facts, {"run": lambda count: timed(batch, count), "features": features}


if __name__ == "__main__":
    serve(prepare)
