"""Classification heads of frozen features in PyTorch: a stack of all grid points of one source, and the official module of one head.

Shape letters: B images, N tokens, D width of a token, G grid points, C classes, H heads of width 64. Parameters come in the shapes of our
stack: linear `linear.weight` [D, G * C], `linear.bias` [G * C]; attentive `query` [G, D], `key.weight` and `value.weight` [G, D, D],
`value.bias` [G, D], `linear.weight` [G, D, C], `linear.bias` [G, C] (the keys' bias has no effect).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

HEAD_WIDTH = 64
BETAS, EPS = (0.9, 0.95), 1e-8


class Stack:
    """All grid points of one source as batched products, with AdamW over the stacked parameters."""

    def __init__(self, parameters: dict[str, Tensor], classes: int, rates: Tensor, decays: Tensor, heads_in_loss: int) -> None:
        self.points, self.classes, self.weight = len(rates), classes, 1 / heads_in_loss
        self.attentive = "query" in parameters
        self.parameters = {n: p.clone().requires_grad_(True) for n, p in parameters.items()}
        self.moments = {n: (torch.zeros_like(p), torch.zeros_like(p)) for n, p in parameters.items()}
        self.rates = {n: self.over(n, rates) for n in parameters}
        self.keeps = {n: None if "bias" in n else 1 - self.over(n, rates * decays) for n in parameters}
        self.done = 0

    def over(self, name: str, values: Tensor) -> Tensor:
        """One value a grid point, shaped to broadcast over a parameter."""
        if not self.attentive:
            return values.repeat_interleave(self.classes)
        return values.view(-1, *([1] * (self.parameters[name].dim() - 1)))

    def logits(self, x: Tensor) -> Tensor:
        """[G, B, C]"""
        p = self.parameters
        if not self.attentive:
            flat = torch.addmm(p["linear.bias"], x, p["linear.weight"])
            return flat.view(len(x), self.points, self.classes).transpose(0, 1)
        points, inner, width = p["key.weight"].shape
        rows = points * inner // HEAD_WIDTH
        # q.(K x + b) = (K^T q).x + q.b, whose last term the softmax drops; its weights sum to one, so that V may follow.
        score = torch.bmm(p["query"].view(rows, 1, HEAD_WIDTH), p["key.weight"].view(rows, HEAD_WIDTH, width))
        weights = (score.view(rows, width) * HEAD_WIDTH**-0.5 @ x.transpose(1, 2)).softmax(-1)  # [B, R, N]
        pooled = (weights @ x).transpose(0, 1)  # [R, B, D]
        values = torch.bmm(pooled, p["value.weight"].view(rows, HEAD_WIDTH, width).transpose(1, 2))  # [R, B, 64]
        values = values.view(points, -1, len(x), HEAD_WIDTH).transpose(1, 2).flatten(2) + p["value.bias"][:, None]
        return torch.baddbmm(p["linear.bias"][:, None], values, p["linear.weight"])

    def step(self, x: Tensor, labels: Tensor) -> Tensor:
        """One step of every head; the losses [G] before it."""
        logits = self.logits(x)
        points, batch, classes = logits.shape
        losses = F.cross_entropy(logits.reshape(-1, classes), labels.repeat(points), reduction="none").view(points, batch).mean(1)
        names = list(self.parameters)
        gradients = torch.autograd.grad(losses.sum() * self.weight, [self.parameters[n] for n in names])
        self.done += 1
        correction, root = 1 - BETAS[0] ** self.done, (1 - BETAS[1] ** self.done) ** 0.5
        with torch.no_grad():
            for name, gradient in zip(names, gradients):
                parameter, (m, v) = self.parameters[name], self.moments[name]
                m.lerp_(gradient, 1 - BETAS[0])
                v.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
                if self.keeps[name] is not None:
                    parameter.mul_(self.keeps[name])
                parameter.sub_((m / v.sqrt().div_(root).add_(EPS)).mul_(self.rates[name] / correction))
        return losses.detach()


class LinearHead(nn.Module):
    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight.T.contiguous()), nn.Parameter(bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class AttentiveHead(nn.Module):
    """One learned query over keys and values of all tokens, then a linear layer."""

    def __init__(self, p: dict[str, Tensor]) -> None:
        super().__init__()
        self.query = nn.Parameter(p["query"].clone())
        self.kv_weight = nn.Parameter(torch.cat([p["key.weight"], p["value.weight"]]))
        self.kv_bias = nn.Parameter(torch.cat([torch.zeros_like(p["value.bias"]), p["value.bias"]]))
        self.linear = LinearHead(p["linear.weight"], p["linear.bias"])

    def forward(self, x: Tensor) -> Tensor:
        key, value = F.linear(x, self.kv_weight, self.kv_bias).unflatten(-1, (2, -1, HEAD_WIDTH)).permute(2, 0, 3, 1, 4)
        query = self.query.view(1, -1, 1, HEAD_WIDTH).expand(len(x), -1, -1, -1)
        return self.linear(F.scaled_dot_product_attention(query, key, value).flatten(1))


def modules_of(parameters: dict[str, Tensor], points: int, classes: int) -> list[nn.Module]:
    """One module a grid point, as the official evaluation has them."""
    if "query" in parameters:
        return [AttentiveHead({n: p[g] for n, p in parameters.items()}) for g in range(points)]
    weight = parameters["linear.weight"].view(-1, points, classes)
    bias = parameters["linear.bias"].view(points, classes)
    return [LinearHead(weight[:, g], bias[g]) for g in range(points)]


class Modules:
    """All heads of all sources as modules of their own under one fused AdamW with a group for each rate and decay."""

    def __init__(self, heads: dict[str, list[nn.Module]], rates: Tensor, decays: Tensor, heads_in_loss: int) -> None:
        self.heads, self.weight = heads, 1 / heads_in_loss
        groups = []
        for point in range(len(rates)):
            named = [item for modules in heads.values() for item in modules[point].named_parameters()]
            for bias in (False, True):
                group = [p for n, p in named if ("bias" in n) == bias]
                decay = 0.0 if bias else decays[point].item()
                groups.append({"params": group, "lr": rates[point].item(), "weight_decay": decay})
        self.optimiser = torch.optim.AdamW(groups, betas=BETAS, eps=EPS, fused=True)

    def step(self, features: dict[str, Tensor], labels: Tensor) -> dict[str, Tensor]:
        """One step of every head; the losses [G] of each source before it."""
        self.optimiser.zero_grad(set_to_none=True)
        losses = {
            source: torch.stack([F.cross_entropy(head(features[source]), labels) for head in heads])
            for source, heads in self.heads.items()
        }
        (sum(loss.sum() for loss in losses.values()) * self.weight).backward()
        self.optimiser.step()
        return {source: loss.detach() for source, loss in losses.items()}
