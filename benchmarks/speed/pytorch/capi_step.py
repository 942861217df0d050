"""One CAPI training step in PyTorch: teacher, online clustering, student, both optimisers, moving average.

This is the baseline that our engine's speed is compared with, so it does the same work and is meant to be a good PyTorch
program: scaled_dot_product_attention, fused AdamW, a foreach moving average, a teacher without gradient, pixels cut into
patches once, the student's embedding of visible patches only. Shape letters are those of model.py.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from model import Backbone, Clustering, Head, ModelSize, grid_coordinates, patchify
from torch import Tensor, nn

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Recipe:
    """The method's numbers beside the model's size; defaults are the published ones."""

    steps: int = 500_000
    warmup: int = 50_000
    truncate: float = 0.8
    lr: float = 1e-3
    clustering_lr: float = 5e-4
    momentum: float = 0.999
    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.95)
    patch_embed_lr: float = 0.2
    rope_lr: float = 0.0
    norm_decay: float = 0.1
    student_temperature: float = 0.12
    clustering_temperature: float = 0.12
    target_temperature: float = 0.06
    sinkhorn_iterations: int = 3
    positionwise: bool = True
    drop_path: float = 0.0


def schedule(step: int, recipe: Recipe, start: float, base: float, final: float) -> float:
    """Linear warm-up that reaches `base` on its last step, then a cosine towards `final`, cut at `truncate` of its way."""
    if step < recipe.warmup:
        return start + (base - start) * step / max(recipe.warmup - 1, 1)
    progress = (step - recipe.warmup) / (recipe.steps - recipe.warmup)
    return final + (base - final) * 0.5 * (1 + math.cos(math.pi * recipe.truncate * progress))


def parameter_groups(module: nn.Module, recipe: Recipe) -> list[dict]:
    """The official groups: multipliers of learning rate and decay chosen by name, equal ones together."""
    groups: dict[tuple[float, float], dict] = {}
    for name, parameter in module.named_parameters():
        lr, decay = 1.0, 1.0
        if name.endswith(".bias"):
            decay = 0.0
        if "norm" in name and "weight" in name:
            decay = recipe.norm_decay
        if "patch_embed" in name:
            lr *= recipe.patch_embed_lr
        if "rope" in name:
            lr *= recipe.rope_lr
        group = groups.setdefault((lr, decay), {"params": [], "lr_multiplier": lr, "wd_multiplier": decay})
        group["params"].append(parameter)
    return list(groups.values())


@torch.no_grad()
def sinkhorn(logits: Tensor, temperature: float, iterations: int, positionwise: bool) -> Tensor:
    """Balanced assignments of logits [N, B, K]: each prototype gets an equal share of a position's samples
    (of all samples if not position-wise), each sample sums to one."""
    scores = logits.detach() if positionwise else logits.detach().flatten(0, 1)[None]
    kernel = (scores - scores.amax(1, keepdim=True)).div_(temperature).add_(50).exp_()  # [problems, samples, K]
    transposed = kernel.transpose(1, 2)
    # The matrix itself stays as it is: scaling factors of its samples and of its prototypes are what changes.
    of_samples = kernel.new_ones(kernel.shape[0], 1, kernel.shape[1])
    of_prototypes = kernel.new_ones(kernel.shape[0], 1, kernel.shape[2])
    for _ in range(iterations):
        of_prototypes = of_prototypes / (of_prototypes * torch.bmm(of_samples, kernel) + 1e-8)
        of_samples = of_samples / (of_samples * torch.bmm(of_prototypes, transposed) + 1e-8)
    return kernel.mul_(of_prototypes).mul_(of_samples.transpose(1, 2)).view_as(logits)


def soft_cross_entropy(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """Mean over rows of the cross-entropy between targets and softmax(logits / temperature)."""
    rows = logits.shape[:-1].numel()
    return -(targets * F.log_softmax(logits / temperature, -1)).sum() / rows


@dataclass
class Batch:
    """images [B, 3, h, w], float (normalised) or bytes; visible [B * V] and predicted [B * P] index the flat axis B * N."""

    images: Tensor
    visible: Tensor
    predicted: Tensor
    kept: list[Tensor] | None = None  # drop path: images that each residual branch keeps, in call order

    def to(self, device: str) -> "Batch":
        kept = None if self.kept is None else [rows.to(device) for rows in self.kept]
        return Batch(self.images.to(device), self.visible.to(device), self.predicted.to(device), kept)


@dataclass
class StepResult:
    capi_loss: Tensor
    clustering_loss: Tensor
    target_entropy: Tensor


def to_patches(images: Tensor, patch: int, dtype: torch.dtype) -> Tensor:
    """Pixels of each patch [B, N, 3pp]; bytes are scaled and normalised by ImageNet's mean and deviation."""
    if images.dtype == torch.uint8:
        mean, std = (torch.tensor(v, dtype=dtype).view(1, 3, 1, 1) * 255 for v in (IMAGE_MEAN, IMAGE_STD))
        images = (images.to(dtype) - mean) / std
    return patchify(images, patch)


class CapiTrainer:
    """Holds student, moving average, prototypes and both optimisers; `step` does one training step in place."""

    def __init__(
        self, size: ModelSize, image_size: tuple[int, int], recipe: Recipe, compile: bool = False, autocast: bool = False
    ) -> None:
        """With `autocast` the matrix products of both passes run in bfloat16; Sinkhorn, losses and optimisers stay in float32."""
        self.size, self.recipe, self.autocast = size, recipe, autocast
        self.student, self.student_ema = (
            nn.ModuleDict({"backbone": Backbone(size).init_weights(), "head": Head(size.width, size.prototypes)})
            for _ in range(2)
        )
        self.student_ema.load_state_dict(self.student.state_dict())
        self.student_ema.requires_grad_(False)
        self.clustering = Clustering(size.width, size.prototypes)
        self.rows_columns = tuple(n // size.patch for n in image_size)
        self.iteration = 0
        run = torch.compile if compile else lambda fn: fn
        self._teacher: Callable = run(self.teacher_loss)
        self._student: Callable = run(self.student_loss)
        self.reset_optimisers()

    def to(self, dtype: torch.dtype) -> "CapiTrainer":
        for module in (self.student, self.student_ema, self.clustering):
            module.to(dtype)
        self.reset_optimisers()
        return self

    def reset_optimisers(self) -> None:
        """Fresh optimisers and cached tables; to be called after the parameters were replaced or cast."""
        learning = [g for g in parameter_groups(self.student, self.recipe) if g["lr_multiplier"] > 0]
        self.optimiser = torch.optim.AdamW(learning, lr=0.0, betas=self.recipe.betas, fused=True)
        self.clustering_optimiser = torch.optim.AdamW(
            self.clustering.parameters(), lr=0.0, betas=self.recipe.betas, fused=True
        )
        self.averaged = [p for n, p in self.student_ema.named_parameters() if "rope" not in n]
        self.learning = [p for n, p in self.student.named_parameters() if "rope" not in n]
        backbone = self.student["backbone"]
        self.grid = grid_coordinates(*self.rows_columns).to(backbone.mask_token.dtype)
        with torch.no_grad():  # whole images always have the same coordinates
            self.teacher_at = backbone.positions(backbone.with_registers(self.grid[None]))

    def half(self) -> AbstractContextManager:
        """bfloat16 matrix products inside, if this trainer has them."""
        return torch.autocast(self.grid.device.type, torch.bfloat16) if self.autocast else nullcontext()

    def teacher_features(self, patches: Tensor) -> Tensor:
        """Patch features [B, N, D] of whole images by the moving average."""
        with torch.no_grad():
            return self.student_ema["backbone"].encode(patches, self.teacher_at)[:, self.size.registers :]

    def teacher_loss(self, patches: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor]:
        """Targets [B * P, K] for the student, and the clustering's own loss over all patches."""
        recipe = self.recipe
        with self.half():
            logits = self.clustering(self.teacher_features(patches).transpose(0, 1))  # [N, B, K]
        logits = logits.float() if self.autocast else logits
        assignments = sinkhorn(logits, recipe.target_temperature, recipe.sinkhorn_iterations, recipe.positionwise)
        loss = soft_cross_entropy(logits, assignments, recipe.clustering_temperature)
        batch, count = patches.shape[:2]
        return assignments[predicted % count, predicted // count], loss

    def student_logits(
        self, patches: Tensor, visible: Tensor, predicted: Tensor, kept: Iterator[Tensor] | None = None
    ) -> dict[str, Tensor]:
        """The student's way from visible patches to prototype logits [B * P, K], with what lies between."""
        backbone, batch, count = self.student["backbone"], *patches.shape[:2]
        at = backbone.positions(backbone.with_registers(self.grid[visible % count].view(batch, -1, 2)))
        predicted_at = backbone.positions(self.grid[predicted % count].view(batch, -1, 2))
        visible_patches = patches.flatten(0, 1)[visible].view(batch, -1, patches.shape[-1])
        with self.half():
            encoded = backbone.encode(visible_patches, at, kept)
            predictions = backbone.predict(encoded, at, predicted_at, kept).flatten(0, 1)
            logits = self.student["head"](predictions)
        logits = logits.float() if self.autocast else logits
        return {"coords": at.coords, "encoded": encoded, "predictions": predictions, "logits": logits}

    def student_loss(
        self, patches: Tensor, visible: Tensor, predicted: Tensor, targets: Tensor, kept: list[Tensor] | None
    ) -> Tensor:
        logits = self.student_logits(patches, visible, predicted, iter(kept) if kept else None)["logits"]
        return soft_cross_entropy(logits, targets, self.recipe.student_temperature)

    def draw_kept(self, batch: int) -> list[Tensor] | None:
        """The images that each residual branch of the student keeps, or None without drop path."""
        if self.recipe.drop_path == 0:
            return None
        keep = max(int(batch * (1 - self.recipe.drop_path)), 1)
        branches = 2 * (self.size.depth + self.size.predictor_depth)
        return [torch.randperm(batch)[:keep] for _ in range(branches)]

    def set_schedules(self) -> float:
        """Write this step's learning rates and decays into the optimisers; returns the moving average's momentum."""
        recipe = self.recipe
        lr = schedule(self.iteration, recipe, 0, recipe.lr, 0)
        for group in self.optimiser.param_groups:
            group["lr"] = lr * group["lr_multiplier"]
            group["weight_decay"] = recipe.weight_decay * group["wd_multiplier"]
        for group in self.clustering_optimiser.param_groups:
            group["lr"] = schedule(self.iteration, recipe, 0, recipe.clustering_lr, 0)
        return schedule(self.iteration, recipe, 1, recipe.momentum, 1)

    def gradients(self, batch: Batch) -> StepResult:
        """Both losses and their gradients, without any update."""
        self.optimiser.zero_grad(set_to_none=True)
        self.clustering_optimiser.zero_grad(set_to_none=True)
        kept = batch.kept if batch.kept is not None else self.draw_kept(len(batch.images))
        patches = to_patches(batch.images, self.size.patch, self.grid.dtype)
        targets, clustering_loss = self._teacher(patches, batch.predicted)
        clustering_loss.backward()
        capi_loss = self._student(patches, batch.visible, batch.predicted, targets, kept)
        capi_loss.backward()
        entropy = -torch.xlogy(targets, targets).sum(-1).mean()
        return StepResult(capi_loss.detach(), clustering_loss.detach(), entropy)

    def step(self, batch: Batch) -> StepResult:
        """One whole training step: gradients, both optimisers, moving average of the updated student."""
        momentum = self.set_schedules()
        result = self.gradients(batch)
        self.optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(self.averaged, self.learning, 1 - momentum)
        self.clustering_optimiser.step()
        self.iteration += 1
        return result
