"""Writes test/golden/linear_depth.safetensors: three training steps of the two linear depth heads in float64 PyTorch.

    python3 test/golden/make/linear_depth.py test/golden/linear_depth.safetensors    (PyTorch 2.13, safetensors 0.8)

Batch norm without affine part, 1 x 1 convolution, bilinear upsampling to the depth maps, AdamW; every step has a batch of its own. `bins`: outputs
upsampled twice, depth by bins with linear normalisation (256 bins and upsampling by 4 in DINOv2), SigLoss, the first step with its warm-up. `regression`:
metres, Huber loss. Gradients are autograd's, of the second step for bins. Features are [steps, images, patches, channels], depths [steps, images,
patches, pixels of a patch], patches and pixels row by row; 0 where nothing was measured. The weight is [outputs, channels].
"""

import sys

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

STEPS, IMAGES, ROWS, COLUMNS, PATCH, CHANNELS = 3, 3, 3, 4, 4, 6
LOW, HIGH, BINS, UPSAMPLE, HUBER = 0.5, 10.0, 7, 2, 1.0
LR, DECAY, BETAS, EPS = 1e-2, 0.1, (0.9, 0.999), 1e-8

torch.manual_seed(0)
# Values that float32 holds exactly, so that both sides start from the same numbers.
features = (torch.randn(STEPS, IMAGES, ROWS, COLUMNS, CHANNELS) * torch.logspace(-1, 1, CHANNELS) + 0.5).double()
maps = 0.5 + 11 * torch.rand(STEPS, IMAGES, ROWS * PATCH, COLUMNS * PATCH)  # some of them too far to count
maps[torch.rand(maps.shape) < 0.2] = 0
maps = maps.double()
counted = (maps > 0) & (maps <= HIGH)

out, losses = {}, {}
for name, outputs in [("bins", BINS), ("regression", 1)]:
    weight = (0.5 * torch.randn(outputs, CHANNELS)).double()
    bias = (0.1 * torch.randn(outputs) + (0 if name == "bins" else 5)).float().double()
    norm = torch.nn.BatchNorm2d(CHANNELS, affine=False).double()
    conv = torch.nn.Conv2d(CHANNELS, outputs, 1).double()
    conv.weight.data.copy_(weight[:, :, None, None])
    conv.bias.data.copy_(bias)
    optimiser = torch.optim.AdamW(conv.parameters(), lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY)

    def depth(x):
        z = conv(norm(x.permute(0, 3, 1, 2)))
        if name == "bins":
            z = F.interpolate(z, scale_factor=UPSAMPLE, mode="bilinear", align_corners=False)
            w = torch.relu(z) + 0.1
            z = torch.einsum("bkhw,k->bhw", w / w.sum(1, keepdim=True), torch.linspace(LOW, HIGH, BINS).double())[:, None]
        return F.interpolate(z, size=(ROWS * PATCH, COLUMNS * PATCH), mode="bilinear", align_corners=False)[:, 0]

    def loss_of(step, predicted):
        p, t = predicted[counted[step]], maps[step][counted[step]]
        if name == "regression":
            return F.huber_loss(p, t, delta=HUBER)
        g = torch.log(p + 0.001) - torch.log(t + 0.001)
        return torch.sqrt((0 if step == 0 else torch.var(g)) + 0.15 * torch.mean(g) ** 2)

    losses = []
    for step in range(STEPS):
        predicted = depth(features[step])
        loss = loss_of(step, predicted)
        optimiser.zero_grad()
        loss.backward()
        losses.append(loss.detach())
        if step == 1:
            out[f"{name}.gradient.weight"] = conv.weight.grad[:, :, 0, 0].clone()
            out[f"{name}.gradient.bias"] = conv.bias.grad.clone()
        optimiser.step()
    norm.eval()
    out |= {
        f"{name}.weight": weight,
        f"{name}.bias": bias,
        f"{name}.losses": torch.stack(losses),
        f"{name}.after3.weight": conv.weight.data[:, :, 0, 0],
        f"{name}.after3.bias": conv.bias.data,
        f"{name}.after3.running_mean": norm.running_mean,
        f"{name}.after3.running_var": norm.running_var,
        # Evaluation mode, with running statistics, on the first batch.
        f"{name}.evaluated": depth(features[0]).detach().clamp(LOW, HIGH),
    }

patches = maps.view(STEPS, IMAGES, ROWS, PATCH, COLUMNS, PATCH).transpose(3, 4)
out |= {
    "features": features.flatten(2, 3),
    "depths": patches.reshape(STEPS, IMAGES, ROWS * COLUMNS, PATCH * PATCH),
}
settings = {
    "rows": ROWS, "columns": COLUMNS, "patch": PATCH, "channels": CHANNELS, "images": IMAGES, "low": LOW, "high": HIGH,
    "bins": BINS, "upsample": UPSAMPLE, "huber": HUBER, "lr": LR, "decay": DECAY, "beta1": BETAS[0], "beta2": BETAS[1], "eps": EPS,
}
save_file({k: v.contiguous() for k, v in out.items()}, sys.argv[1], {k: str(v) for k, v in settings.items()})
