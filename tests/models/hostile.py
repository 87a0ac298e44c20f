"""Pickles that would do harm if anything executed them, each with the folder or file that betrays it."""

import argparse
import os
import pickle
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Call:
    """Unpickled carelessly, this calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


def hostile_pickles(trap: Path) -> Iterator[tuple[str, bytes]]:
    """Programs by name; those that call anything make the folder `trap`."""
    mkdir = Call(os.mkdir, str(trap))
    where = str(trap).encode()
    for protocol in range(6):
        yield f"os.mkdir, protocol {protocol}", pickle.dumps(mkdir, protocol)
        yield f"in a Namespace, protocol {protocol}", pickle.dumps(argparse.Namespace(lr=[{"b": mkdir}]), protocol)
    yield "eval", pickle.dumps(Call(eval, f"__import__('os').mkdir({str(trap)!r})"))
    yield "a chain of getattr", pickle.dumps(Call(getattr, Call(__import__, "os"), "mkdir"))
    yield "a nested global", b"\x80\x04\x8c\x08argparse\x8c\x0c_os.system.x\x93."
    yield "a global of the allowed module", b"\x80\x04\x8c\x08argparse\x8c\x03_os\x93."
    yield "a global out of the memo", b"\x80\x04\x8c\x02os\x94\x8c\x05mkdir\x94h\x00h\x01\x93\x8c\x01x\x85R."
    yield "INST", b"(S'" + where + b"'\nios\nmkdir\n."
    yield "OBJ", b"(cos\nmkdir\nS'" + where + b"'\no."
    yield "an extension code", b"\x80\x02\x82\x01."
    yield "a persistent id by itself", b"Pos.mkdir\n."
    yield "the class's own state", b"\x80\x04cargparse\nNamespace\n}N}\x8c\x01a\x8c\x01bs\x86b."
    yield "a __setstate__", b"\x80\x04cargparse\nNamespace\n)\x81}\x8c\x0c__setstate__cargparse\nNamespace\nsb}b."
    yield "arguments for a Namespace", b"\x80\x04cargparse\nNamespace\nK\x01\x85R."
    yield "a torch rebuild function", b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00(K\x05t(K\x01t\x89}tR."
    yield "a memo of 64 GB", b"\x80\x02]r\xff\xff\xff\xff."
    yield "bytes of 2^62", b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"x."
    yield "a number of 2^31 bytes", b"\x80\x02\x8b" + struct.pack("<I", (1 << 31) - 1) + b"x."
    yield "a number of many digits", b"I" + b"9" * 100_000 + b"\n."
    yield "a billion laughs", b"\x80\x02" + b")" + b"".join(b"q%c0h%ch%c\x86" % (i, i, i) for i in range(60)) + b"."
    yield "a deep list", b"\x80\x02" + b"]" * 5000 + b"a" * 4999 + b"."
    yield "a deep tuple", b"\x80\x02)" + b"\x85" * 200_000 + b"."
    yield "a list of itself", b"\x80\x02]q\x00h\x00a."
    yield "a tuple as a key", b"\x80\x02}K\x01\x85K\x01s."
    yield "no stop", b"\x80\x04]"
    yield "an empty stack", b"\x80\x04."
    yield "a mark alone", b"\x80\x04(."
