"""Writes test/golden/variants.safetensors: three training steps of every rival method of the ablations, in float64 PyTorch.

    python3 test/golden/make/variants.py test/golden/variants.safetensors        (PyTorch 2.13, safetensors 0.8)

Written from the sources, batch-first and with PyTorch's own operators and optimisers:
- CAPI: arXiv 2502.08769, Sec. 3 and Tables 1, 6 and 8; predictor `cross`, Sinkhorn-Knopp `positionwise`, `standard` or `none` (softmax).
- `self`: MAE (arXiv 2111.06377) and I-JEPA (2301.08243): embedded encoder output and mask tokens attend to each other.
- `fused`: BEiT (2106.08254) and iBOT (2111.07832): mask tokens at all masked positions of the encoder itself.
- `learned`: ViT (2010.11929): a table added to the patch embeddings; MAE: another one for the predictor.
- head `mlp`: DINO's (facebookresearch/dinov2, dino_head.py); loss `ibot`: EMA head as teacher, Sinkhorn-Knopp in place of centring.
- loss `direct`: I-JEPA (facebookresearch/ijepa, train.py): smooth L1 to layer-normalised EMA features.
- loss `pixel`: MAE (facebookresearch/mae, models_mae.py): squared error to pixels, each patch standardised by itself.

Tensors: images [B, 3, H, W] (normalised), visible and predict [B, n] (places in the flattened B * N axis), and for each variant its weights
before (student., student_ema., teacher.head.), targets, loss, clustering_loss, entropy, gradient.* and after3.*.
"""

import json
import math
import sys

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

B, H, W, P = 4, 16, 24, 4
GH, GW = H // P, W // P
N = GH * GW
D, HEADS, DEPTH, PRED_DEPTH, RATIO, K = 16, 2, 1, 2, 2, 12
VISIBLE, PREDICTED = 9, 7
TARGET_T, PREDICTION_T, STUDENT_T, ITERATIONS = 0.06, 0.12, 0.12, 3
LRS, CLUSTERING_LRS, MOMENTA = (1e-3, 2e-3, 3e-3), (5e-4, 1e-3, 2e-3), (0.99, 0.97, 0.95)
SINKHORN_EPS = 1e-8  # of the official code; a token far from every prototype ends below a sum of 1 by it
DECAY, CLUSTERING_DECAY, BETAS, ADAM_EPS, SECOND = 0.1, 0.01, (0.9, 0.95), 1e-8, 1e-6
ROPE_MIN, ROPE_MAX, EPS = 7e-4, 7.0, 1e-5

BASE = {"predictor": "cross", "positions": "rope", "sinkhorn": "positionwise", "loss": "capi", "registers": 4, "edge": True, "width": D, "pred_heads": HEADS}
VARIANTS = {
    "self": {"predictor": "self"},
    "self_wide": {"predictor": "self", "width": 24, "pred_heads": 3},
    "cross_wide": {"width": 24, "pred_heads": 3},
    "fused": {"predictor": "fused"},
    "learned": {"positions": "learned"},
    "learned_self": {"positions": "learned", "predictor": "self", "registers": 3},
    "learned_fused": {"positions": "learned", "predictor": "fused", "registers": 0},
    "standard": {"sinkhorn": "standard"},
    "none": {"sinkhorn": "none"},
    "no_registers": {"registers": 0},
    "capi_mlp": {"loss": "capi-mlp"},
    "ibot": {"loss": "ibot"},
    "ibot_fused": {"loss": "ibot", "predictor": "fused", "sinkhorn": "none"},
    "direct": {"loss": "direct"},
    "pixel": {"loss": "pixel", "predictor": "self"},
}


def frequencies(d):
    q = d // 4
    f = 2 * math.pi * torch.logspace(math.log10(ROPE_MAX), math.log10(ROPE_MIN), q, dtype=torch.float64)
    return f.float().double()  # the product keeps them in float32


def rotate(x, coords):
    """x [B, heads, T, d], coords [B, T, 2]: channel i turns with channel i + d / 2."""
    d = x.shape[-1]
    f = frequencies(d)
    angle = torch.cat([coords[..., :1] * torch.cat([f, f]), coords[..., 1:] * torch.cat([f, f])], -1)[:, None]
    a, b = x.chunk(2, -1)
    turned = torch.cat([-b, a], -1)
    return x * angle.cos() + turned * angle.sin()


def rms(x):
    return x / torch.sqrt(x.square().mean(-1, keepdim=True) + EPS)


def block(w, name, x, coords, heads, context=None, context_coords=None):
    h = rms(x) * w[f"{name}.residual1.norm.weight"]
    c, cc = (h, coords) if context is None else (context, context_coords)

    def project(t, which):
        y = F.linear(t, w[f"{name}.residual1.fn.{which}.weight"])
        return y.view(*y.shape[:2], heads, -1).transpose(1, 2)

    q, k, v = project(h, "q_proj"), project(c, "k_proj"), project(c, "v_proj")
    if coords is not None:
        q, k = rotate(q, coords), rotate(k, cc)
    y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
    x = x + F.linear(y, w[f"{name}.residual1.fn.proj.weight"])
    h = rms(x) * w[f"{name}.residual2.norm.weight"]
    return x + F.linear(F.gelu(F.linear(h, w[f"{name}.residual2.fn.fc1.weight"])), w[f"{name}.residual2.fn.fc2.weight"])


grid = torch.stack(torch.meshgrid(torch.linspace(0, 1, GH), torch.linspace(0, 1, GW), indexing="ij"), -1).view(N, 2).double()


def register_coords(o, low, high):
    """[B, R, 2] on the box from low to high [B, 2]."""
    r = o["registers"]
    unit = torch.zeros(r, 2, dtype=torch.float64)
    if o["edge"]:
        for j in range(r // 4):
            c = j / (r // 4)
            for side, place in enumerate(((c, 0), (1, c), (1 - c, 1), (0, 1 - c))):
                unit[side * (r // 4) + j] = torch.tensor(place, dtype=torch.float64)
    return low[:, None] + unit * (high - low)[:, None]


def tokens(w, o, images, places):
    """Embedded patches at `places` [B, V] with registers before them, and their coordinates."""
    x = F.conv2d(images, w["backbone.patch_embed.weight"], w["backbone.patch_embed.bias"], stride=P).flatten(2).transpose(1, 2)
    if o["positions"] == "learned":
        x = x + w["backbone.pos_embed"]
    x = x.gather(1, places[..., None].expand(-1, -1, D))
    if o["registers"]:
        x = torch.cat([w["backbone.registers"].expand(len(x), -1, -1), x], 1)
    c = grid[places]
    coords = torch.cat([register_coords(o, c.amin(1), c.amax(1)), c], 1)
    return x, (coords if o["positions"] == "rope" else None)


def cat(a, b):
    return None if a is None else torch.cat([a, b], 1)


def encode(w, o, images, places):
    x, coords = tokens(w, o, images, places)
    for i in range(DEPTH):
        x = block(w, f"backbone.encoder.blocks.{i}", x, coords, HEADS)
    return rms(x), coords


def predict(w, o, images, visible, predicted, other):
    mask = w["backbone.mask_token"]
    if o["predictor"] == "fused":
        x, coords = tokens(w, o, images, visible)
        places = torch.cat([predicted, other], 1)
        m = mask.expand(B, places.shape[1], -1)
        if o["positions"] == "learned":
            m = m + w["backbone.pos_embed"][0][places]
        start = x.shape[1]
        x, coords = torch.cat([x, m], 1), cat(coords, grid[places])
        for i in range(DEPTH):
            x = block(w, f"backbone.encoder.blocks.{i}", x, coords, HEADS)
        return rms(x)[:, start : start + PREDICTED]
    context, coords = encode(w, o, images, visible)
    y = mask.expand(B, PREDICTED, -1)
    learned = o["positions"] == "learned"
    if learned:
        y = y + w["backbone.decoder_pos_embed"][0][predicted]
    own = None if learned else grid[predicted]
    if o["predictor"] == "self":
        x = F.linear(context, w["backbone.decoder_embed.weight"])
        if learned:
            r = o["registers"]
            x = torch.cat([x[:, :r], x[:, r:] + w["backbone.decoder_pos_embed"][0][visible]], 1)
        y, own = torch.cat([x, y], 1), cat(coords, own)
    for i in range(PRED_DEPTH):
        cross = {} if o["predictor"] == "self" else {"context": context, "context_coords": coords}
        y = block(w, f"backbone.decoder.blocks.{i}", y, own, o["pred_heads"], **cross)
    return rms(y)[:, -PREDICTED:]


def head(w, o, x):
    if o["loss"] == "direct":
        return x
    if o["loss"] == "pixel":
        return F.linear(x, w["head.pixels.weight"], w["head.pixels.bias"])
    if o["loss"] in ("capi-mlp", "ibot"):
        for i in range(3):
            x = F.linear(x, w[f"head.mlp.{i}.weight"], w[f"head.mlp.{i}.bias"])
            x = F.gelu(x) if i < 2 else x
    v, g = w["head.last_layer.weight_v"], w["head.last_layer.weight_g"]
    return F.linear(F.normalize(x, dim=-1, eps=1e-12), v * g / (v.norm(dim=-1, keepdim=True) + 1e-8))


@torch.no_grad()
def assign(o, logits):
    """[B, N, K] -> [B, N, K]"""
    if o["sinkhorn"] == "none":
        return (logits / TARGET_T).softmax(-1)
    m = logits.transpose(0, 1) / TARGET_T  # [N, B, K]
    if o["sinkhorn"] == "standard":
        m = m.reshape(1, N * B, K)
    m = (m - m.amax(1, keepdim=True)).exp()
    for _ in range(ITERATIONS):
        m = m / (m.sum(1, keepdim=True) + SINKHORN_EPS)
        m = m / (m.sum(2, keepdim=True) + SINKHORN_EPS)
    return m.reshape(N, B, K).transpose(0, 1)


def shapes(o):
    e = o["width"] if o["predictor"] != "fused" else D
    out = {"backbone.patch_embed.weight": (D, 3, P, P), "backbone.patch_embed.bias": (D,), "backbone.mask_token": (1, e)}
    if o["registers"]:
        out["backbone.registers"] = (1, o["registers"], D)

    def add(name, dim, context):
        for which, shape in (("q", (dim, dim)), ("k", (dim, context)), ("v", (dim, context))):
            out[f"{name}.residual1.fn.{which}_proj.weight"] = shape
        out[f"{name}.residual1.fn.proj.weight"] = (dim, dim)
        out[f"{name}.residual1.norm.weight"] = out[f"{name}.residual2.norm.weight"] = (dim,)
        out[f"{name}.residual2.fn.fc1.weight"], out[f"{name}.residual2.fn.fc2.weight"] = (RATIO * dim, dim), (dim, RATIO * dim)

    for i in range(DEPTH):
        add(f"backbone.encoder.blocks.{i}", D, D)
    if o["positions"] == "learned":
        out["backbone.pos_embed"] = (1, N, D)
    if o["predictor"] != "fused":
        for i in range(PRED_DEPTH):
            add(f"backbone.decoder.blocks.{i}", e, e if o["predictor"] == "self" else D)
        if o["positions"] == "learned":
            out["backbone.decoder_pos_embed"] = (1, N, e)
    if o["predictor"] == "self":
        out["backbone.decoder_embed.weight"] = (e, D)
    width = e
    if o["loss"] in ("capi-mlp", "ibot"):
        widths = (e, 2 * e, 2 * e, width := e // 4)
        for i in range(3):
            out[f"head.mlp.{i}.weight"], out[f"head.mlp.{i}.bias"] = (widths[i + 1], widths[i]), (widths[i + 1],)
    if o["loss"] == "pixel":
        out["head.pixels.weight"], out["head.pixels.bias"] = (3 * P * P, e), (3 * P * P,)
    elif o["loss"] != "direct":
        out["head.last_layer.weight_g"], out["head.last_layer.weight_v"] = (K, 1), (K, width)
    return out


def draw(name, shape):
    x = torch.randn(shape)
    if name.endswith("norm.weight") or name.endswith("weight_g"):
        x = 1 + 0.1 * x
    elif name.endswith("bias"):
        x = 0.1 * x
    elif len(shape) > 1 and not name.endswith(("mask_token", "registers", "pos_embed")):
        x = x / math.sqrt(math.prod(shape[1:]))
    return x.float().double()


torch.manual_seed(0)
images = torch.randn(B, 3, H, W).float().double()
order = torch.stack([torch.randperm(N) for _ in range(B)])
visible, predicted, other = (t.sort(1).values for t in order.split((VISIBLE, PREDICTED, N - VISIBLE - PREDICTED), 1))
offset = torch.arange(B)[:, None] * N
out = {"images": images, "visible": (visible + offset).int(), "predict": (predicted + offset).int()}

for variant, changes in VARIANTS.items():
    o = BASE | changes
    torch.manual_seed(1)
    student = {n: draw(n, s).requires_grad_() for n, s in shapes(o).items()}
    ema = {n: (t.detach() + 0.1 * torch.randn(t.shape)).float().double() for n, t in student.items()}
    clustered = o["loss"] in ("capi", "capi-mlp")
    layer = {"layer.weight": torch.randn(K, D).float().double().requires_grad_(), "layer.bias": (0.1 * torch.randn(K)).float().double().requires_grad_()} if clustered else {}
    for n, t in student.items():
        out[f"{variant}/before.student.{n}"], out[f"{variant}/before.student_ema.{n}"] = t.detach().clone(), ema[n].clone()
    for n, t in layer.items():
        out[f"{variant}/before.teacher.head.{n}"] = t.detach().clone()

    def group(n, t):
        decay = 0 if n.endswith(".bias") else 0.1 * DECAY if n.endswith("norm.weight") else DECAY
        return {"params": [t], "weight_decay": decay, "scale": 0.2 if "patch_embed" in n else 1}

    optimiser = torch.optim.AdamW([group(n, t) for n, t in student.items()], betas=BETAS, eps=ADAM_EPS)
    own = torch.optim.AdamW(layer.values(), betas=BETAS, eps=ADAM_EPS, weight_decay=CLUSTERING_DECAY) if clustered else None
    # From zero moments AdamW's first step is the sign of the gradient, which no rounding survives: second moments start at SECOND.
    for adam in (optimiser, own) if own else (optimiser,):
        for g in adam.param_groups:
            for t in g["params"]:
                adam.state[t] = {"step": torch.tensor(0.0), "exp_avg": torch.zeros_like(t), "exp_avg_sq": torch.full_like(t, SECOND)}
    for step in range(3):
        everything = torch.arange(N).expand(B, -1)
        clustering_loss = None
        if o["loss"] != "pixel":
            with torch.no_grad():
                patches = encode(ema, o, images, everything)[0][:, o["registers"] :]
        if clustered:
            logits = F.linear(F.normalize(patches, dim=-1, eps=1e-7), layer["layer.weight"], layer["layer.bias"])
            targets = assign(o, logits.detach())
            clustering_loss = -(targets * (logits / PREDICTION_T).log_softmax(-1)).sum(-1).mean()
        elif o["loss"] == "ibot":
            targets = assign(o, head(ema, o, patches))
        elif o["loss"] == "direct":
            targets = F.layer_norm(patches, (D,))
        else:
            t = images.unfold(2, P, P).unfold(3, P, P).permute(0, 2, 3, 4, 5, 1).reshape(B, N, -1)  # row, column, channel
            targets = (t - t.mean(-1, keepdim=True)) / (t.var(-1, keepdim=True) + 1e-6).sqrt()
        targets = targets.gather(1, predicted[..., None].expand(-1, -1, targets.shape[-1]))
        answers = head(student, o, predict(student, o, images, visible, predicted, other))
        if o["loss"] == "direct":
            loss = F.smooth_l1_loss(answers, targets)
        elif o["loss"] == "pixel":
            loss = (answers - targets).square().mean()
        else:
            loss = -(targets * (answers / STUDENT_T).log_softmax(-1)).sum(-1).mean()
        optimiser.zero_grad()
        loss.backward()
        if own:
            own.zero_grad()
            clustering_loss.backward()
        if step == 0:
            out[f"{variant}/targets"], out[f"{variant}/loss"] = targets.clone(), loss.detach().view(1)
            if clustered:
                out[f"{variant}/clustering_loss"] = clustering_loss.detach().view(1)
            if o["loss"] not in ("direct", "pixel"):
                out[f"{variant}/entropy"] = -(targets * targets.clamp(min=1e-30).log()).sum(-1).mean().view(1)
            for n, t in student.items():
                out[f"{variant}/gradient.student.{n}"] = t.grad.clone()
            for n, t in layer.items():
                out[f"{variant}/gradient.teacher.head.{n}"] = t.grad.clone()
        for g in optimiser.param_groups:
            g["lr"] = LRS[step] * g["scale"]
        optimiser.step()
        if own:
            own.param_groups[0]["lr"] = CLUSTERING_LRS[step]
            own.step()
        with torch.no_grad():
            for n, t in student.items():
                ema[n].mul_(MOMENTA[step]).add_(t, alpha=1 - MOMENTA[step])
    out[f"{variant}/loss_of_step_3"] = loss.detach().view(1)
    for n, t in student.items():
        out[f"{variant}/after3.student.{n}"], out[f"{variant}/after3.student_ema.{n}"] = t.detach().clone(), ema[n].clone()
    for n, t in layer.items():
        out[f"{variant}/after3.teacher.head.{n}"] = t.detach().clone()

small = {n: (t if t.dtype == torch.int32 else t.double() if n.endswith(("loss", "entropy", "step_3")) else t.float()).contiguous() for n, t in out.items()}
settings = {
    "variants": {n: BASE | c for n, c in VARIANTS.items()}, "batch": B, "image_size": [H, W], "patch": P, "width": D, "heads": HEADS,
    "depth": DEPTH, "predictor_depth": PRED_DEPTH, "mlp_ratio": RATIO, "prototypes": K, "visible": VISIBLE, "predicted": PREDICTED,
    "second_moment": SECOND, "lr": LRS, "clustering_lr": CLUSTERING_LRS, "momentum": MOMENTA,
}
save_file(small, sys.argv[1], {"settings": json.dumps(settings)})
