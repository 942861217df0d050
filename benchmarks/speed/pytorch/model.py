"""The CAPI network in PyTorch: encoder, cross-attention predictor, head and online clustering (arXiv 2502.08769).

Shape letters: B images, N patches of an image, V visible and P predicted patches, R registers, T = R + V tokens,
D width, H heads, d = D / H, K prototypes. Parameters carry the names of the official state dict.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = 1e-5
ROPE_MAX_FREQUENCY = 7.0
ROPE_MIN_FREQUENCY = 7e-4


@dataclass(frozen=True)
class ModelSize:
    """Everything that fixes a parameter's shape, plus the place of the registers."""

    patch: int
    width: int
    heads: int
    depth: int
    predictor_depth: int
    registers: int
    prototypes: int
    register_coordinates: str = "edge"  # or "zeros"


class Positions:
    """Where a set of tokens lies: coordinates [B or 1, T, 2] in [0, 1] (row, column) and, once made, their rotary table."""

    def __init__(self, coords: Tensor, table: tuple[Tensor, Tensor] | None = None) -> None:
        self.coords = coords
        self.table = table

    def of(self, kept: Tensor) -> "Positions":
        """The same for some images of the batch; positions shared by the whole batch stay as they are."""
        if self.coords.shape[0] == 1:
            return self
        table = self.table and (self.table[0][kept], self.table[1][kept])
        return Positions(self.coords[kept], table)


class Rope(nn.Module):
    """Axial rotary positions with the official pairing: channel i turns with channel i + d/2, by the angle of the row
    in the first half of the channels and by the angle of the column in the second."""

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        steps = torch.linspace(0, 1, head_dim // 4, dtype=torch.float64)
        one_axis = ROPE_MAX_FREQUENCY * (ROPE_MIN_FREQUENCY / ROPE_MAX_FREQUENCY) ** steps
        freqs = torch.zeros(2, head_dim, dtype=torch.float64)
        freqs[0, : head_dim // 2] = one_axis.repeat(2)
        freqs[1, head_dim // 2 :] = one_axis.repeat(2)
        # Their learning rate is zero in CAPI, so no gradient is asked for unless a caller turns it on.
        self.freqs = nn.Parameter((freqs * 2 * math.pi).float(), requires_grad=False)

    def table(self, coords: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and signed sines [.., T, 1, d]; the sign of rotate_half sits in the sine."""
        angle = coords @ self.freqs
        sine_first, sine_second = angle.sin().chunk(2, -1)
        return angle.cos().unsqueeze(-2), torch.cat([-sine_first, sine_second], -1).unsqueeze(-2)

    def forward(self, x: Tensor, positions: Positions) -> Tensor:
        """x [B, T, H, d] turned by its positions."""
        cosine, sine = positions.table or self.table(positions.coords)
        return torch.addcmul(x * cosine, x.roll(x.shape[-1] // 2, -1), sine)


class _EagerRmsNorm(torch.autograd.Function):
    """x / rms(x) * gain with its gradient written out: a third fewer passes over memory than recording each operation."""

    @staticmethod
    def forward(ctx, x: Tensor, gain: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = torch.rsqrt(length * length / x.shape[-1] + NORM_EPS)
        normed = x * inverse
        ctx.save_for_backward(normed, inverse, gain)
        return normed * gain

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor]:
        normed, inverse, gain = ctx.saved_tensors
        gain_gradient = (gradient * normed).flatten(0, -2).sum(0)
        gradient = gradient * gain
        along = (gradient * normed).mean(-1, keepdim=True)
        return torch.addcmul(gradient, normed, along, value=-1).mul_(inverse), gain_gradient


class RMSNorm(nn.RMSNorm):
    """PyTorch's own norm where torch.compile fuses it, the function above where operations run one by one."""

    def __init__(self, width: int) -> None:
        super().__init__(width, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) if torch.compiler.is_compiling() else _EagerRmsNorm.apply(x, self.weight)


class Attention(nn.Module):
    """Multi-head attention with rotary positions; cross-attention when given a context."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width, bias=False)
        self.rope = Rope(width // heads)

    def forward(self, x: Tensor, at: Positions, context: Tensor | None, context_at: Positions | None) -> Tensor:
        if context is None or context_at is None:
            context, context_at = x, at
        split = (self.heads, x.shape[-1] // self.heads)
        query = self.rope(self.q_proj(x).unflatten(-1, split), at)  # [B, T, H, d]
        key = self.rope(self.k_proj(context).unflatten(-1, split), context_at)
        value = self.v_proj(context).unflatten(-1, split)
        mixed = F.scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
        return self.proj(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 4 * width, bias=False)
        self.fc2 = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Residual(nn.Module):
    """x + fn(norm(x)), with the "efficient" drop path: only the kept images go through fn, scaled by B / kept."""

    def __init__(self, width: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm = RMSNorm(width)
        self.fn = fn

    def forward(self, x: Tensor, kept: Tensor | None, *args) -> Tensor:
        if kept is None:
            return x + self.fn(self.norm(x), *args)
        args = [a.of(kept) if isinstance(a, Positions) else a if a is None else a[kept] for a in args]
        added = self.fn(self.norm(x[kept]), *args).to(x.dtype)  # bfloat16 under autocast
        return x.index_add(0, kept, added, alpha=x.shape[0] / len(kept))


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.residual1 = Residual(width, Attention(width, heads))
        self.residual2 = Residual(width, Mlp(width))

    def forward(
        self,
        x: Tensor,
        at: Positions,
        context: Tensor | None = None,
        context_at: Positions | None = None,
        kept: Iterator[Tensor] | None = None,
    ) -> Tensor:
        x = self.residual1(x, next(kept) if kept else None, at, context, context_at)
        return self.residual2(x, next(kept) if kept else None)


class Transformer(nn.Module):
    def __init__(self, depth: int, width: int, heads: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))


class Backbone(nn.Module):
    """Encoder of visible patches and registers, and the predictor that reads its output."""

    def __init__(self, size: ModelSize) -> None:
        super().__init__()
        self.size = size
        self.encoder = Transformer(size.depth, size.width, size.heads)
        self.decoder = Transformer(size.predictor_depth, size.width, size.heads)
        self.mask_token = nn.Parameter(torch.empty(1, size.width))
        self.registers = nn.Parameter(torch.empty(1, size.registers, size.width))
        self.patch_embed = nn.Conv2d(3, size.width, size.patch, size.patch)
        self.learn_rope = False

    def init_weights(self) -> "Backbone":
        """The official initialisation (the patch bias keeps PyTorch's own)."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
        nn.init.xavier_uniform_(self.patch_embed.weight.data.flatten(1))
        nn.init.normal_(self.registers, std=0.02)
        nn.init.normal_(self.mask_token, std=0.02)
        return self

    def positions(self, coords: Tensor) -> Positions:
        """Positions with one rotary table for every block: frequencies that never learn are the same in all of them."""
        if self.learn_rope:
            return Positions(coords)
        return Positions(coords, self.encoder.blocks[0].residual1.fn.rope.table(coords))

    def with_registers(self, coords: Tensor) -> Tensor:
        """Coordinates of patches [B or 1, V, 2] preceded by those of the registers, on the box around these patches."""
        places = register_coordinates(self.size.registers, self.size.register_coordinates).to(coords)
        low, high = coords.amin(1, keepdim=True), coords.amax(1, keepdim=True)
        return torch.cat([low + places * (high - low), coords], 1)

    def embed(self, patches: Tensor) -> Tensor:
        """Pixels of patches [B, V, 3pp] -> tokens [B, R + V, D], registers first."""
        tokens = F.linear(patches, self.patch_embed.weight.flatten(1), self.patch_embed.bias)
        return torch.cat([self.registers.expand(len(patches), -1, -1), tokens], 1)

    def encode(self, patches: Tensor, at: Positions, kept: Iterator[Tensor] | None = None) -> Tensor:
        """Pixels of patches [B, V, 3pp] -> normalised encoder output [B, R + V, D], registers first."""
        x = self.embed(patches)
        for block in self.encoder.blocks:
            x = block(x, at, kept=kept)
        return F.rms_norm(x, x.shape[-1:], eps=NORM_EPS)

    def predict(
        self,
        encoded: Tensor,
        encoded_at: Positions,
        at: Positions,
        kept: Iterator[Tensor] | None = None,
        depth: int | None = None,
    ) -> Tensor:
        """The predictor's normalised output [B, P, D] at positions `at`, after `depth` blocks (default: all)."""
        x = self.mask_token.expand(encoded.shape[0], at.coords.shape[1], -1)
        for block in self.decoder.blocks[:depth]:
            x = block(x, at, encoded, encoded_at, kept)
        return F.rms_norm(x, x.shape[-1:], eps=NORM_EPS)

    def evaluate(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Whole images [B, 3, h, w] -> global vector [B, D], registers [B, R, D], feature map [B, gh, gw, D]."""
        rows, columns = (n // self.size.patch for n in images.shape[2:])
        grid = grid_coordinates(rows, columns).to(images)[None]
        encoded_at = self.positions(self.with_registers(grid))
        encoded = self.encode(patchify(images, self.size.patch), encoded_at)
        pooled = self.predict(encoded, encoded_at, self.positions(grid), depth=1).mean(1)
        registers, features = encoded.split([self.size.registers, rows * columns], 1)
        return pooled, registers, features.unflatten(1, (rows, columns))


class WeightNormLinear(nn.Module):
    """Linear layer without bias whose rows have a length of their own: W = g v / (|v| + 1e-8)."""

    def __init__(self, width: int, prototypes: int) -> None:
        super().__init__()
        self.weight_g = nn.Parameter(torch.ones(prototypes, 1))
        self.weight_v = nn.Parameter(nn.init.trunc_normal_(torch.empty(prototypes, width), std=0.02))

    def weight(self) -> Tensor:
        return self.weight_v * (self.weight_g / (self.weight_v.norm(dim=1, keepdim=True) + 1e-8))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight())


class Head(nn.Module):
    def __init__(self, width: int, prototypes: int) -> None:
        super().__init__()
        self.last_layer = WeightNormLinear(width, prototypes)

    def forward(self, x: Tensor) -> Tensor:
        return self.last_layer(F.normalize(x, dim=-1, eps=1e-12))


class Clustering(nn.Module):
    """The teacher's head: logits of L2-normalised features against the prototypes."""

    def __init__(self, width: int, prototypes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, prototypes)
        nn.init.normal_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(F.normalize(x, dim=-1, eps=1e-7))


def patchify(images: Tensor, patch: int) -> Tensor:
    """Images [B, 3, h, w] -> pixels of each patch [B, N, 3pp], ordered as a convolution's weight is."""
    batch, channels, height, width = images.shape
    cells = images.reshape(batch, channels, height // patch, patch, width // patch, patch)
    return cells.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * patch * patch)


def grid_coordinates(rows: int, columns: int) -> Tensor:
    """Coordinates [N, 2] (row, column) of a grid in reading order, each axis from 0 to 1."""
    return torch.cartesian_prod(
        torch.linspace(0, 1, rows, dtype=torch.float64), torch.linspace(0, 1, columns, dtype=torch.float64)
    )


def register_coordinates(count: int, kind: str) -> Tensor:
    """Coordinates [1, R, 2] in the unit square: all at zero, or evenly spaced round its edge."""
    if kind == "zeros":
        return torch.zeros(1, count, 2, dtype=torch.float64)
    if kind != "edge" or count % 4:
        raise ValueError(f"registers: {count} at {kind!r}; give 'zeros', or 'edge' with a multiple of 4")
    side = torch.arange(count // 4, dtype=torch.float64) / max(count // 4, 1)
    zero, one = torch.zeros_like(side), torch.ones_like(side)
    rows = torch.cat([side, one, 1 - side, zero])
    columns = torch.cat([zero, side, one, 1 - side])
    return torch.stack([rows, columns], -1)[None]
