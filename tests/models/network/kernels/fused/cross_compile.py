"""Compiles the edge kernels for a card that is not here and says what came out, as JSON; run as a script.

ptxas and nvdisasm come with triton. A launch that passes 0 or a pointer tells the compiler that it is divisible by 16,
which is done by hand here.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ.pop("TRITON_INTERPRET", None)
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from gaga.models.network.kernels.fused import device, geometry

INTEGERS = {"start", "size", "shifts", "first_block", "first_item", "item_tile", "item_shift", "block_tile"}
SIXTEEN_BITS = {"P", "Q", "W2", "W2_T", "Z2", "GRAD", "DZ1", "DZ2", "DP", "DQ"}
TENSOR_CORE = {80: "HMMA", 90: "HGMMA", 100: "UTCHMMA"}
F = 256
BASE = {"F": F, "FAST": True}
KERNELS = {
    "forward gate": ("edge_forward", BASE | {"SHIFTS": 6, "GATE": True, "KEEP": False, "INTERPRET": False}),
    "forward gate kept": ("edge_forward", BASE | {"SHIFTS": 6, "GATE": True, "KEEP": True, "INTERPRET": False}),
    "forward head": ("edge_forward", BASE | {"SHIFTS": 6, "GATE": False, "KEEP": False, "INTERPRET": False}),
    "forward head kept": ("edge_forward", BASE | {"SHIFTS": 6, "GATE": False, "KEEP": True, "INTERPRET": False}),
    "head backward": ("head_backward", BASE | {"SHIFTS": 6, "GATE": True}),
    "backward gate": ("edge_backward", BASE | {"GATE": True, "INTERPRET": False, "BLOCKS": 6}),
    "backward head": ("edge_backward", BASE | {"GATE": False, "INTERPRET": False, "BLOCKS": 6}),
    "weights": ("weight_gradient", BASE | {"HALF": 128, "INTERPRET": False}),
    "nodes": ("node_gradients", {"F": F, "COLUMNS": 64}),
    "sums": ("sum_items", {"F": F, "COLUMNS": 64}),
    "narrow float32": ("edge_backward", {"F": 32, "FAST": False, "GATE": True, "INTERPRET": False, "BLOCKS": 6}),
    "distances": ("distances", {}),
    "distances backward": ("distances_backward", {}),
    "displacement": ("displacement", {"TANH": True}),
    "displacement backward": ("displacement_backward", {"TANH": True}),
    "heads gradient": ("heads_gradient", {"TANH": True}),
}
WARPS = {"sum_items": 4, "node_gradients": 4, "edge_forward": 8, "edge_backward": 8, "head_backward": 8,
         "weight_gradient": 8}  # fmt: skip
TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"


def compile_for(card: int, name: str) -> dict[str, int]:
    """Registers, shared memory, and counts of instructions of a kernel's largest loop."""
    function, constants = KERNELS[name]
    kernel = getattr(device, function, None) or getattr(geometry, function)
    signature = {a: "constexpr" if a in constants else _type(a, constants) for a in kernel.arg_names}
    if "float32" in name:
        signature = {a: "*fp32" if kind == "*bf16" else kind for a, kind in signature.items()}
    divisible = [["tt.divisibility", 16]]
    attributes = {
        (i,): divisible for i, a in enumerate(kernel.arg_names) if signature[a][0] == "*" or a in ("stride", "zero")
    }
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=attributes)
    warps = 4 if constants.get("F", F) < 128 else WARPS.get(function, 2)
    warps *= 2 if card == 90 and warps == 8 and function == "edge_backward" else 1
    compiled = triton.compile(source, target=GPUTarget("cuda", card, 32), options={"num_warps": warps, "num_stages": 1})
    loop = _largest_loop(_disassembled(compiled.asm["cubin"]))
    return {
        "shared": compiled.metadata.shared,
        "instructions": len(loop),
        "spills": _count(loop, "LDL") + _count(loop, "STL"),
        "tensor_core": _count(loop, TENSOR_CORE[card]),
        "special_functions": _count(loop, "MUFU"),
    }


def _type(argument: str, constants: dict[str, object]) -> str:
    if argument in ("stride", "zero", "blocks"):
        return "i32"
    if argument in ("reach", "norm_constant", "scale"):
        return "fp32"
    if argument == "GRAD" and not constants.get("GATE"):
        return "*fp32"
    return "*i32" if argument in INTEGERS else "*bf16" if argument in SIXTEEN_BITS else "*fp32"


def _disassembled(cubin: bytes) -> list[str]:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        words = [str(TOOLS / "nvdisasm"), "-c", file.name]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()


def _largest_loop(lines: list[str]) -> list[str]:
    labels, instructions, loops = {}, [], [(0, 0)]
    for line in lines:
        if label := re.match(r"\s*(\.L_x_\d+):", line):
            labels[label[1]] = len(instructions)
        elif re.match(r"\s+/\*[0-9a-f]+\*/", line):
            instructions.append(line)
    for i, line in enumerate(instructions):
        target = re.search(r"BRA.*`\((\.L_x_\d+)\)", line)
        if target and labels[target[1]] <= i:
            loops.append((labels[target[1]], i + 1))
    first, last = max(loops, key=lambda ends: ends[1] - ends[0])
    return instructions[first:last]


def _count(instructions: list[str], operation: str) -> int:
    return sum(bool(re.search(rf"\b{operation}\b", line)) for line in instructions)


if __name__ == "__main__":
    cards = [int(word) for word in sys.argv[1:]]
    print(json.dumps({card: {name: compile_for(card, name) for name in KERNELS} for card in cards}))
