"""One edge network on b molecules of n atoms, forward and backward by hand: exact edges, few passes over them.

Edges stand in the order of the cyclic shift: edge (i, s) goes from atom i to j = (i + s) mod n, s = 1 .. n - 1.
With P = W_i h + b_1, Q = W_j h and the geometry g = (d, d0) of an edge,

    z1 = P_i + Q_j + g W_g,   z2 = W2 silu(z1) + b2,   m = silu(z2)

(EDM, appendix B, with the first linear layer factorised). What follows m is a gate and a sum over j (`Messages`), or
one length for each edge (`Lengths`). The factors of products over edges are rounded to `product`, float32 or bfloat16;
everything else stays in the type of P.
"""

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable

_silu = torch.ops.aten.silu.out
_silu_backward = torch.ops.aten.silu_backward.grad_input


class Messages(torch.autograd.Function):
    """sum_j e_ij m_ij with the gate e_ij = sigmoid(w m_ij + b), or 1 without a gate."""

    @staticmethod
    def forward(
        ctx: Any,
        p: Float[Tensor, "b n F"],
        q: Float[Tensor, "b n F"],
        geometry: Float[Tensor, "E 2"],
        wg: Float[Tensor, "F 2"],
        w2: Float[Tensor, "F F"],
        b2: Float[Tensor, " F"],
        gate_w: Float[Tensor, "1 F"] | None,
        gate_b: Float[Tensor, "1"] | None,
        product: torch.dtype,
    ) -> Float[Tensor, "b n F"]:
        b, n, width = p.shape
        z1, z2 = _hidden(p, q, geometry, wg, w2, b2, product, keep=True)
        m = torch.empty_like(z2)
        _silu(z2, out=m)
        if gate_w is None or gate_b is None:
            gate = m.new_ones(len(m))
        else:
            gate = torch.sigmoid_(torch.addmv(gate_b, m, gate_w[0]))
        ctx.save_for_backward(p, geometry, wg, w2, gate_w, z1, z2, gate)
        ctx.product = product
        return torch.bmm(gate.view(b * n, 1, n - 1), m.view(b * n, n - 1, width)).view(b, n, width)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "b n F"]) -> tuple[Tensor | None, ...]:
        p, geometry, wg, w2, gate_w, z1, z2, gate = ctx.saved_tensors
        b, n, width = p.shape
        m = torch.empty_like(z2)
        _silu(z2, out=m)
        if gate_w is None:
            dm = torch.mul(gate.view(b, n, n - 1, 1), grad[:, :, None]).view(-1, width)
            d_gate_w = d_gate_b = None
        else:
            dot = torch.mul(m.view(b, n, n - 1, width), grad[:, :, None]).sum(dim=3).view(-1)
            d_logit = dot * gate * (1 - gate)
            d_gate_w, d_gate_b = torch.mv(m.T, d_logit)[None], d_logit.sum()[None]
            rows = torch.stack([gate, d_logit], dim=1).view(b * n, n - 1, 2)
            columns = torch.stack([grad.reshape(-1, width), gate_w.expand(b * n, width)], dim=1)
            dm = torch.bmm(rows, columns, out=m.view(b * n, n - 1, width)).view(-1, width)
        _silu_backward(dm, z2, grad_input=dm)
        return *_through_hidden(dm, p, geometry, wg, w2, z1, ctx.product), d_gate_w, d_gate_b, None


class Lengths(torch.autograd.Function):
    """w m_ij, one number for each edge."""

    @staticmethod
    def forward(
        ctx: Any,
        p: Float[Tensor, "b n F"],
        q: Float[Tensor, "b n F"],
        geometry: Float[Tensor, "E 2"],
        wg: Float[Tensor, "F 2"],
        w2: Float[Tensor, "F F"],
        b2: Float[Tensor, " F"],
        head: Float[Tensor, "1 F"],
        product: torch.dtype,
    ) -> Float[Tensor, " E"]:
        z1, z2 = _hidden(p, q, geometry, wg, w2, b2, product, keep=True)
        m = torch.empty_like(z2)
        _silu(z2, out=m)
        ctx.save_for_backward(p, geometry, wg, w2, head, z1, z2)
        ctx.product = product
        return torch.mv(m, head[0])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, " E"]) -> tuple[Tensor | None, ...]:
        p, geometry, wg, w2, head, z1, z2 = ctx.saved_tensors
        m = torch.empty_like(z2)
        _silu(z2, out=m)
        d_head = torch.mv(m.T, grad)[None]
        dm = torch.mm(grad[:, None], head, out=m)
        _silu_backward(dm, z2, grad_input=dm)
        return *_through_hidden(dm, p, geometry, wg, w2, z1, ctx.product), d_head, None


def sum_of_messages(
    p: Tensor, q: Tensor, geometry: Tensor, wg: Tensor, w2: Tensor, b2: Tensor,
    gate_w: Tensor | None, gate_b: Tensor | None, product: torch.dtype,
) -> Float[Tensor, "b n F"]:  # fmt: skip
    """`Messages` if gradients are enabled, else the same without keeping anything."""
    if torch.is_grad_enabled():
        return Messages.apply(p, q, geometry, wg, w2, b2, gate_w, gate_b, product)  # type: ignore[no-any-return, no-untyped-call]
    b, n, width = p.shape
    z2 = _hidden(p, q, geometry, wg, w2, b2, product, keep=False)[1]
    _silu(z2, out=z2)
    if gate_w is None or gate_b is None:
        return z2.view(b, n, n - 1, width).sum(dim=2)
    gate = torch.sigmoid_(torch.addmv(gate_b, z2, gate_w[0]))
    return torch.bmm(gate.view(b * n, 1, n - 1), z2.view(b * n, n - 1, width)).view(b, n, width)


def lengths(
    p: Tensor, q: Tensor, geometry: Tensor, wg: Tensor, w2: Tensor, b2: Tensor, head: Tensor, product: torch.dtype
) -> Float[Tensor, " E"]:
    """`Lengths` if gradients are enabled, else the same without keeping anything."""
    if torch.is_grad_enabled():
        return Lengths.apply(p, q, geometry, wg, w2, b2, head, product)  # type: ignore[no-any-return, no-untyped-call]
    z2 = _hidden(p, q, geometry, wg, w2, b2, product, keep=False)[1]
    _silu(z2, out=z2)
    return torch.mv(z2, head[0])


def _hidden(
    p: Tensor, q: Tensor, geometry: Tensor, wg: Tensor, w2: Tensor, b2: Tensor, product: torch.dtype, *, keep: bool
) -> tuple[Float[Tensor, "E F"], Float[Tensor, "E F"]]:
    """z1 and z2; z1 is overwritten unless it is kept."""
    b, n, width = p.shape
    z1 = p.new_empty((b, n, n - 1, width))
    torch.add(p[:, :, None], neighbours(q), out=z1)
    z1 = z1.view(-1, width).addmm_(geometry, wg.T)
    a1 = torch.empty_like(z1) if keep else z1
    _silu(z1, out=a1)
    if product == a1.dtype:
        return z1, torch.addmm(b2, a1, w2.T)
    return z1, torch.mm(a1.to(product), w2.T.to(product)).to(p.dtype).add_(b2)


def _through_hidden(
    dz2: Tensor, p: Tensor, geometry: Tensor, wg: Tensor, w2: Tensor, z1: Tensor, product: torch.dtype
) -> tuple[Tensor, ...]:
    """Gradients of p, q, geometry, wg, w2 and b2."""
    a1 = torch.empty_like(z1)
    _silu(z1, out=a1)
    db2 = dz2.sum(dim=0)
    if product == dz2.dtype:
        dw2 = torch.mm(dz2.T, a1)
        dz1 = torch.mm(dz2, w2, out=a1)
    else:
        rounded = dz2.to(product)
        dw2 = torch.mm(rounded.T, a1.to(product)).to(w2.dtype)
        dz1 = a1.copy_(torch.mm(rounded, w2.to(product)))
    _silu_backward(dz1, z1, grad_input=dz1)
    b, n, width = p.shape
    dp = dz1.view(b, n, n - 1, width).sum(dim=2)
    dq = torch.zeros_like(dp).view(-1, width).index_add_(0, neighbour_rows(b, n, p.device), dz1).view_as(dp)
    return dp, dq, torch.mm(dz1, wg), torch.mm(dz1.T, geometry), dw2, db2


def neighbours(q: Float[Tensor, "b n F"]) -> Float[Tensor, "b n shifts F"]:
    """q of the neighbour j of every edge, without a copy for each edge."""
    n = q.shape[1]
    return torch.cat([q[:, 1:], q[:, :-1]], dim=1).unfold(1, n - 1, 1).transpose(2, 3)


def neighbour_rows(b: int, n: int, device: torch.device) -> Int64[Tensor, " E"]:
    """Row of the neighbour j of every edge, among the b n rows."""
    i = torch.arange(n, device=device)
    j = (i[:, None] + torch.arange(1, n, device=device)) % n
    return (torch.arange(b, device=device)[:, None, None] * n + j).reshape(-1)
