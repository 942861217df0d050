"""Checks the PyTorch step against reference values of the official code, tensor by tensor: python check.py REFERENCE_DIR.

An error is the largest difference divided by the largest magnitude of the reference tensor. Prints one line for each
group of tensors (worst one, its error, the tolerance) and exits with 1 if any is above its tolerance.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch
from capi_step import Batch, CapiTrainer, Recipe, parameter_groups, sinkhorn, soft_cross_entropy
from extract import Extractor
from model import ModelSize, Positions, Rope, grid_coordinates, patchify, register_coordinates
from safetensors.torch import load_file
from torch import Tensor

FORWARD, TARGETS, LOSSES, GRADIENTS, DROP_PATH = 1e-5, 5e-5, 1e-6, 5e-5, 1e-5
CURVE, PARAMETERS_EARLY, PARAMETERS_END = 1e-4, 2e-5, 5e-4


@dataclass
class Report:
    """Collects the worst error of each named group."""

    rows: dict[str, tuple[float, str, float, int]] = field(default_factory=dict)

    def compare(self, group: str, name: str, ours: Tensor | float, reference: Tensor | float, tolerance: float) -> None:
        ours, reference = (torch.as_tensor(t, dtype=torch.float64).detach() for t in (ours, reference))
        if ours.shape != reference.shape:
            raise SystemExit(f"{name}: shape {tuple(ours.shape)}, the reference has {tuple(reference.shape)}")
        scale = reference.abs().max().item()
        error = (ours - reference).abs().max().item() / (scale if scale > 0 else 1.0)
        worst, _, _, count = self.rows.get(group, (-1.0, "", 0.0, 0))
        if not error <= worst:  # also true for NaN
            self.rows[group] = (error, name, tolerance, count + 1)
        else:
            self.rows[group] = (*self.rows[group][:3], count + 1)

    def print(self) -> bool:
        """Print the table; true if every group is within its tolerance."""
        width = max(map(len, self.rows))
        print(f"{'group':<{width}}  tensors  largest error  tolerance  worst")
        for group, (error, name, tolerance, count) in self.rows.items():
            verdict = "" if error <= tolerance else "   ABOVE"
            print(f"{group:<{width}}  {count:>7}  {error:>13.2e}  {tolerance:>9.0e}  {name}{verdict}")
        return all(error <= tolerance for error, _, tolerance, _ in self.rows.values())


class Reference:
    """The folder of reference values, all sizes taken from its reference.json."""

    def __init__(self, folder: Path, dtype: torch.dtype) -> None:
        if not (folder / "reference.json").is_file():
            raise SystemExit(f"{folder}: no reference.json; give the folder that holds the reference values")
        self.folder, self.dtype = folder, dtype
        self.json = json.loads((folder / "reference.json").read_text())
        config, optim = self.json["config"], self.json["config"]["optim"]
        self.image_size = tuple(config["image_hw"])
        self.size = ModelSize(
            patch=config["patch_size"],
            width=config["embed_dim"],
            heads=config["num_heads"],
            depth=config["enc_depth"],
            predictor_depth=config["dec_depth"],
            registers=config["n_registers"],
            prototypes=config["num_clusters"],
            register_coordinates=config["register_coordinates"],
        )
        self.recipe = Recipe(
            steps=optim["total_iters"],
            warmup=optim["warmup"],
            lr=optim["lr"],
            clustering_lr=optim["clustering_lr"],
            momentum=optim["momentum"],
        )
        self.weights = self.load("weights")

    def load(self, name: str) -> dict[str, Tensor]:
        return load_file(self.folder / f"{name}.safetensors")

    def trainer(self) -> CapiTrainer:
        """A trainer that holds the reference weights."""
        trainer = CapiTrainer(self.size, self.image_size, self.recipe)
        for prefix, module in (
            ("student.", trainer.student),
            ("student_ema.", trainer.student_ema),
            ("teacher.head.", trainer.clustering),
        ):
            part = {n.removeprefix(prefix): t for n, t in self.weights.items() if n.startswith(prefix)}
            module.load_state_dict(part, strict=True)
        return trainer.to(self.dtype)

    def batch(self, tensors: dict[str, Tensor], index: int | None = None) -> Batch:
        images, visible, predicted = (tensors[n] for n in ("images", "visible_indices", "predict_indices"))
        if index is not None:
            images, visible, predicted = images[index], visible[index], predicted[index]
        return Batch(images.to(self.dtype), visible.long(), predicted.long())


def check_forward(report: Report, reference: Reference) -> None:
    values, batch, trainer = reference.load("forward"), reference.batch(reference.load("batch")), reference.trainer()

    def compare(name: str, ours: Tensor, group: str = "forward", tolerance: float = FORWARD) -> None:
        report.compare(group, name, ours.reshape(values[name].shape), values[name], tolerance)

    size, dtype, images = reference.size, reference.dtype, batch.images
    rows, columns = (n // size.patch for n in reference.image_size)
    grid = grid_coordinates(rows, columns)
    compare("coords_all", grid.expand(len(images), -1, -1))
    compare("teacher_like.coords_with_registers", trainer.teacher_at.coords.expand(len(images), -1, -1))
    if "register_edge_coords" in values:
        compare("register_edge_coords", register_coordinates(size.registers, "edge"))
    rope = Rope(values["rope.freqs"].shape[1])
    rope.freqs.data = values["rope.freqs"].to(dtype)
    turned = rope(values["rope.in"].to(dtype).transpose(1, 2), Positions(values["rope.coords"].to(dtype).squeeze(1)))
    compare("rope.out", turned.transpose(1, 2))

    patches = patchify(images, size.patch)
    features = trainer.teacher_features(patches)
    compare("teacher.patches", features)
    logits = trainer.clustering(features.transpose(0, 1))
    compare("cluster.logits", logits)
    for kind in ("positionwise", "standard"):
        recipe = reference.recipe
        ours = sinkhorn(logits, recipe.target_temperature, recipe.sinkhorn_iterations, kind == "positionwise")
        compare(f"cluster.assignments_{kind}", ours, "targets and Sinkhorn", TARGETS)
    targets, clustering_loss = trainer.teacher_loss(patches, batch.predicted)
    compare("targets", targets, "targets and Sinkhorn", TARGETS)
    compare("target_entropy", -torch.xlogy(targets, targets).sum(-1).mean(), "targets and Sinkhorn", TARGETS)

    student = trainer.student_logits(patches, batch.visible, batch.predicted)
    visible = patches.flatten(0, 1)[batch.visible].view(len(images), -1, patches.shape[-1])
    compare("student.tokens_in", trainer.student["backbone"].embed(visible))
    compare("student.coords_visible", student["coords"])
    compare("student.patches", student["encoded"][:, size.registers :])
    compare("student.predictions", student["predictions"])
    compare("student.head.weight_normalised", trainer.student["head"].last_layer.weight())
    compare("student.logits", student["logits"])
    compare("loss.capi", soft_cross_entropy(student["logits"], targets, 0.12), "losses", LOSSES)
    compare("loss.clustering", clustering_loss, "losses", LOSSES)
    with torch.no_grad():
        pooled, registers, feature_map = trainer.student_ema["backbone"].evaluate(images)
    compare("eval.global", pooled)
    compare("eval.registers", registers)
    compare("eval.feature_map", feature_map)
    if dtype is torch.float32:
        ema = {n.removeprefix("backbone."): t for n, t in trainer.student_ema.state_dict().items() if "backbone." in n}
        extracted = Extractor(size, reference.image_size, ema)(images)
        for ours, name in (("global", "global"), ("registers", "registers"), ("patches", "feature_map")):
            compare(f"eval.{name}", extracted[ours], "extraction")


def check_gradients(report: Report, reference: Reference) -> None:
    """With frozen rotary frequencies (as in training, one shared table) and with learnt ones (as the official code)."""
    values, batch = reference.load("grads"), reference.batch(reference.load("batch"))
    for learn_rope in (False, True):
        trainer = reference.trainer()
        trainer.student["backbone"].learn_rope = learn_rope
        for name, parameter in trainer.student.named_parameters():
            if "rope" in name:
                parameter.requires_grad_(learn_rope)
        trainer.gradients(batch)
        ours = {f"student.{n}": p.grad for n, p in trainer.student.named_parameters()}
        ours |= {f"teacher.head.{n}": p.grad for n, p in trainer.clustering.named_parameters()}
        for name, expected in values.items():
            if learn_rope or "rope" not in name:
                report.compare("gradients", name, ours[name], expected, GRADIENTS)


def check_drop_path(report: Report, reference: Reference) -> None:
    values, batch, trainer = reference.load("drop_path"), reference.batch(reference.load("batch")), reference.trainer()
    kept = iter(values["kept_samples"].long())
    patches = patchify(batch.images, reference.size.patch)
    student = trainer.student_logits(patches, batch.visible, batch.predicted, kept)
    ours = student["encoded"][:, reference.size.registers :]
    report.compare("drop path", "student.patches", ours, values["student.patches"], DROP_PATH)
    report.compare("drop path", "student.predictions", student["predictions"], values["student.predictions"], DROP_PATH)


def check_training(report: Report, reference: Reference) -> None:
    """The whole run: schedules, groups, loss curve, parameters at the stored steps."""
    batches, snapshots = reference.load("train_batches"), reference.load("train_snapshots")
    curve, trainer = reference.json["curve"], reference.trainer()
    groups = parameter_groups(trainer.student, reference.recipe)
    ours = sorted((g["lr_multiplier"], g["wd_multiplier"], len(g["params"])) for g in groups)
    expected = sorted((g["lr_multiplier"], g["wd_multiplier"], g["params"]) for g in reference.json["param_groups"])
    if ours != expected:
        raise SystemExit(f"parameter groups (lr, decay, count): {ours}, the reference has {expected}")
    distinct, steps = len(batches["images"]), len(curve["capi_loss"])
    stored = {int(name.split(".")[0].removeprefix("step")) for name in snapshots}
    for step in range(steps):
        momentum = trainer.set_schedules()
        for name, value in (
            ("lr", trainer.optimiser.param_groups[0]["lr"] / trainer.optimiser.param_groups[0]["lr_multiplier"]),
            ("clustering_lr", trainer.clustering_optimiser.param_groups[0]["lr"]),
            ("momentum", momentum),
        ):
            report.compare("schedules", f"{name} at step {step}", value, curve[name][step], 1e-12)
        result = trainer.step(reference.batch(batches, step % distinct))
        for name in ("capi_loss", "clustering_loss", "target_entropy"):
            report.compare("loss curve", f"{name} at step {step}", getattr(result, name), curve[name][step], CURVE)
        if step + 1 in stored:
            last = step + 1 == steps
            state = {f"student.{n}": t for n, t in trainer.student.state_dict().items()}
            state |= {f"student_ema.{n}": t for n, t in trainer.student_ema.state_dict().items()}
            state |= {f"teacher.head.{n}": t for n, t in trainer.clustering.state_dict().items()}
            prefix = f"step{step + 1:03d}."
            for name in (n for n in snapshots if n.startswith(prefix)):
                tolerance = PARAMETERS_END if last else PARAMETERS_EARLY
                group = f"parameters after {step + 1} steps"
                report.compare(group, name, state[name.removeprefix(prefix)], snapshots[name], tolerance)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reference", type=Path, help="folder with reference.json and its safetensors files")
    parser.add_argument("--double", action="store_true", help="compute in float64 instead of float32")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the tensors are tiny: threads would only wait for each other
    reference = Reference(arguments.reference, torch.float64 if arguments.double else torch.float32)
    report = Report()
    for check in (check_forward, check_gradients, check_drop_path, check_training):
        check(report, reference)
    return 0 if report.print() else 1


if __name__ == "__main__":
    sys.exit(main())
