"""Writes test/golden/linear_segmentation.safetensors: three training steps of a linear segmentation head in float64 PyTorch.

    python3 test/golden/make/linear_segmentation.py test/golden/linear_segmentation.safetensors    (PyTorch 2.13, safetensors 0.8)

Batch norm without affine part, 1 x 1 convolution, bilinear upsampling to the label maps, cross-entropy over the pixels that are
not 255, AdamW; every step has a batch of its own. Features are [steps, images, patches, channels], labels [steps, images,
patches, pixels of a patch], patches and pixels row by row. The weight is [classes, channels].
"""

import sys

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

STEPS, IMAGES, ROWS, COLUMNS, PATCH, CHANNELS, CLASSES = 3, 3, 3, 4, 4, 6, 5
LR, DECAY, BETAS, EPS = 1e-2, 0.1, (0.9, 0.999), 1e-8

torch.manual_seed(0)
# Values that float32 holds exactly, so that both sides start from the same numbers.
features = (torch.randn(STEPS, IMAGES, ROWS, COLUMNS, CHANNELS) * torch.logspace(-1, 1, CHANNELS) + 0.5).double()
maps = torch.randint(0, CLASSES, (STEPS, IMAGES, ROWS * PATCH, COLUMNS * PATCH))
maps[torch.rand(maps.shape) < 0.2] = 255
weight = (0.5 * torch.randn(CLASSES, CHANNELS)).double()
bias = (0.1 * torch.randn(CLASSES)).double()

head = torch.nn.Sequential(
    torch.nn.BatchNorm2d(CHANNELS, affine=False), torch.nn.Conv2d(CHANNELS, CLASSES, 1)
).double()
head[1].weight.data.copy_(weight[:, :, None, None])
head[1].bias.data.copy_(bias)
optimiser = torch.optim.AdamW(head.parameters(), lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY)


def upsampled(x):
    return F.interpolate(head(x.permute(0, 3, 1, 2)), scale_factor=PATCH, mode="bilinear", align_corners=False)


out = {}
losses = []
for step in range(STEPS):
    logits = upsampled(features[step])
    loss = F.cross_entropy(logits, maps[step], ignore_index=255)
    optimiser.zero_grad()
    loss.backward()
    losses.append(loss.detach())
    if step == 0:
        out["logits"] = logits.detach().permute(0, 2, 3, 1)
        out["gradient.weight"] = head[1].weight.grad[:, :, 0, 0].clone()
        out["gradient.bias"] = head[1].bias.grad.clone()
    optimiser.step()

head.eval()
patches = maps.view(STEPS, IMAGES, ROWS, PATCH, COLUMNS, PATCH).transpose(3, 4)
out |= {
    "features": features.flatten(2, 3),
    "labels": patches.reshape(STEPS, IMAGES, ROWS * COLUMNS, PATCH * PATCH).to(torch.uint8),
    "weight": weight,
    "bias": bias,
    "losses": torch.stack(losses),
    "after3.weight": head[1].weight.data[:, :, 0, 0],
    "after3.bias": head[1].bias.data,
    "after3.running_mean": head[0].running_mean,
    "after3.running_var": head[0].running_var,
    # Evaluation mode, with running statistics, on the first batch.
    "evaluated": upsampled(features[0]).detach().permute(0, 2, 3, 1),
}
settings = {
    "rows": ROWS, "columns": COLUMNS, "patch": PATCH, "channels": CHANNELS, "classes": CLASSES, "images": IMAGES,
    "lr": LR, "decay": DECAY, "beta1": BETAS[0], "beta2": BETAS[1], "eps": EPS,
}
save_file({k: v.contiguous() for k, v in out.items()}, sys.argv[1], {k: str(v) for k, v in settings.items()})
