"""The groups of a batch run side by side, one thread each.

Intra-op threads synchronise after every small operation, and stall if another program takes a core. Here each thread
runs whole groups, and they synchronise once in a pass. Which thread runs a group depends only on the sizes and the
number of threads, and sums over groups have a fixed order, so that results are the same bit for bit.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from gaga.models.network.layout import Layout
from gaga.models.network.parameters import Parameters

Dense = Callable[[Parameters, Tensor, Tensor], Tensor]
Group = tuple[Tensor, Tensor]
Item = TypeVar("Item")
Result = TypeVar("Result")
_NUMBERS = 1600 * 256  # of a group, one for each edge and feature: a few such arrays stay in a core's cache
_EDGES_OF_AN_ATOM = 3.5  # what the networks of an atom cost, in edges


def run_in_threads(
    dense: Dense, network: Parameters, z: Float[Tensor, "A C"], t: Float[Tensor, "M *k"], layout: Layout
) -> Float[Tensor, "A C"]:
    """`dense(network, z [b, n, C], t [b])` for every group of the layout, put together again."""
    groups = layout.groups(max(_NUMBERS // network.config.hidden, 1))
    count = min(torch.get_num_threads(), len(groups)) if z.device.type == "cpu" else 1
    if count == 1:
        return _together(z, groups, [dense(network, z[atoms], t[members]) for atoms, members in groups])
    shares = balance_groups(groups, count)
    if not torch.is_grad_enabled():
        results = _run(lambda share: [_without_graph(dense, network, z[a], t[m]) for a, m in share], shares)
        return _together(z, [g for share in shares for g in share], [out for share in results for out in share])
    output: Tensor = _ThreadedGroups.apply(dense, network, shares, z, t, *network.parameters())  # type: ignore[no-untyped-call]
    return output


def balance_groups(groups: Sequence[Group], count: int) -> list[list[Group]]:
    """Groups over threads: the most expensive first, each to the thread with the least work so far."""
    costs = [atoms.numel() * (atoms.shape[1] - 1 + _EDGES_OF_AN_ATOM) for atoms, _ in groups]
    shares: list[list[Group]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for cost, index in sorted(zip(costs, range(len(groups)), strict=True), reverse=True):
        least = loads.index(min(loads))
        shares[least].append(groups[index])
        loads[least] += cost
    return shares


@torch.no_grad()
def _without_graph(dense: Dense, network: Parameters, z: Tensor, t: Tensor) -> Tensor:
    """Whether graphs are kept is a setting of each thread, and threads of a pool start with graphs."""
    return dense(network, z, t)


def _together(z: Tensor, groups: Sequence[Group], outputs: Sequence[Tensor]) -> Tensor:
    order = torch.cat([atoms.reshape(-1) for atoms, _ in groups])
    return torch.empty_like(z).index_copy(0, order, torch.cat([out.reshape(-1, z.shape[1]) for out in outputs]))


class _ThreadedGroups(torch.autograd.Function):
    """Each thread has a graph of its own, from copies of its inputs to its outputs, and differentiates it by itself."""

    @staticmethod
    def forward(
        ctx: Any,
        dense: Dense,
        network: Parameters,
        shares: list[list[Group]],
        z: Tensor,
        t: Tensor,
        *parameters: Tensor,
    ) -> Tensor:
        wants = ctx.needs_input_grad[3], ctx.needs_input_grad[4]

        def forward(share: list[Group]) -> list[tuple[Tensor, Tensor, Tensor]]:
            with torch.enable_grad():
                inputs = [(_leaf(z[a], wants[0]), _leaf(t[m], wants[1])) for a, m in share]
                return [(*pair, dense(network, *pair)) for pair in inputs]

        ctx.graphs = _run(forward, shares)
        ctx.shares, ctx.parameters, ctx.shapes = shares, parameters, (z.shape, t.shape)
        outputs = [out.detach() for graph in ctx.graphs for _, _, out in graph]
        return _together(z, [g for share in shares for g in share], outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        graphs, ctx.graphs = ctx.graphs, None
        if graphs is None:
            raise RuntimeError(
                "threads differentiate a graph once; to differentiate it again, use torch.set_num_threads(1)"
            )
        parameters = [p for p in ctx.parameters if p.requires_grad]
        dz = grad.new_zeros(ctx.shapes[0]) if ctx.needs_input_grad[3] else None
        dt = grad.new_zeros(ctx.shapes[1]) if ctx.needs_input_grad[4] else None

        def backward(number: int) -> list[Tensor | None]:
            sums: list[Tensor | None] = [None] * len(parameters)
            for (atoms, members), (z, t, out) in zip(ctx.shares[number], graphs[number], strict=True):
                wanted = [i for i in (z, t) if i.requires_grad] + parameters
                grads = list(torch.autograd.grad(out, wanted, grad[atoms], allow_unused=True))
                if dz is not None:
                    dz[atoms] = grads.pop(0)
                if dt is not None and (of_time := grads.pop(0)) is not None:
                    dt[members] = of_time
                sums = [_sum(a, b) for a, b in zip(sums, grads, strict=True)]
            return sums

        parts = _run(backward, range(len(graphs)))
        totals = parts[0]
        for part in parts[1:]:
            totals = [_sum(a, b) for a, b in zip(totals, part, strict=True)]
        found = iter(totals)
        return None, None, None, dz, dt, *(next(found) if p.requires_grad else None for p in ctx.parameters)


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    if a is None or b is None:
        return b if a is None else a
    return a.add_(b)


def _leaf(value: Tensor, wanted: bool) -> Tensor:
    return value.detach().requires_grad_(wanted)


def _run(task: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """The task of each item, each on one thread; the first runs here."""
    with one_thread():
        others = [_pool(len(items) - 1).submit(task, item) for item in items[1:]]
        try:
            return [task(items[0]), *(other.result() for other in others)]
        finally:
            for other in others:
                other.exception()  # none may continue in the background


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "gaga-group", initializer=torch.set_num_threads, initargs=(1,))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process has no threads of its parent


@contextmanager
def one_thread() -> Iterator[None]:
    """torch with one thread in each operation while the block runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
