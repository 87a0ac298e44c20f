"""What strangers and accidents send: molecules as nobody expects them, damaged bytes, options out of range."""

import gzip
from dataclasses import dataclass

from hypothesis import strategies as st

ELEMENTS = ("H", "C", "N", "O", "F", "h", "CL", "Br", "Si", "D", "T", "6", "U", "Og")
UNKNOWN = (
    "*",
    "Bq",
    "@O",
    "O:",
    "1_2",
    "٨",
    "R#",
    "R1",
    "Du",
    "X",
    "A",
    "Q",
    "LP",
    "119",
    "0",
    "-1",
    "?",
    "13C",
    "Zz",
    "é",
    "9" * 5000,
)
NAMES = st.one_of(
    st.sampled_from(
        ["", "water", "a/b", "../../x", "a b  c", "分子", "👩‍🔬", "säure", "x" * 300, "'; DROP TABLE", "[/bold]",
         "\x1b[31mred\x1b[0m", "\u202etxt", "12", "a=b c=d", "%s %d", "\\n", "<name>", "NaN"]
    ),
    st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=12),
)  # fmt: skip
ORDINARY = st.floats(-9, 9).map(lambda x: round(x, 4))
STRANGE = st.sampled_from(
    ["nan", "inf", "-inf", "1e30", "-1e30", "1e308", "1e999", "1e-300", "99999.9", "100000.1", "0x10", "1,5", "abc",
     "1_0", "1d5", "--1", "9" * 400]
)  # fmt: skip


@dataclass(frozen=True)
class Molecule:
    """Symbols and coordinates as text; a name; formal charges or radicals (SDF)."""

    symbols: tuple[str, ...]
    coordinates: tuple[tuple[str, str, str], ...]
    name: str
    charged: str = ""

    @property
    def usable(self) -> bool:
        """Whether a reader that is right takes it."""
        return bool(self.symbols) and self._known() and self._placed()

    def _known(self) -> bool:
        return all(symbol in ELEMENTS for symbol in self.symbols)

    def _placed(self) -> bool:
        try:
            places = [tuple(map(_number, xyz)) for xyz in self.coordinates]
        except ValueError:
            return False
        within = all(abs(x) <= 1e5 for place in places for x in place)
        return within and (len(places) == 1 or len(set(places)) > 1)


def _number(text: str) -> float:
    """What a coordinate is: an underscore makes it text, and Fortran writes exponents with d."""
    if "_" in text:
        raise ValueError(text)
    return float(text.replace("d", "e"))


@st.composite
def _molecules(draw: st.DrawFn) -> Molecule:
    n = draw(st.sampled_from([0, 1, 1, 2, 3, 5, 9]))
    strange = draw(st.sampled_from(["", "", "", "element", "coordinate", "on top", "no hydrogen"]))
    elements = ELEMENTS[1:5] if strange == "no hydrogen" else ELEMENTS
    symbols = [draw(st.sampled_from(elements)) for _ in range(n)]
    places = [tuple(str(draw(ORDINARY)) for _ in range(3)) for _ in range(n)]
    if n and strange == "element":
        symbols[draw(st.integers(0, n - 1))] = draw(st.sampled_from(UNKNOWN))
    if n and strange == "coordinate":
        places[-1] = (draw(STRANGE), *places[-1][1:])
    if n and strange == "on top":
        places[-1] = places[0]
    charged = draw(st.sampled_from(["", "", "M  CHG  1   1   1", "M  RAD  1   1   2", "M  ISO  1   1  13"]))
    return Molecule(tuple(symbols), tuple(places), draw(NAMES), charged)  # type: ignore[arg-type]


MOLECULES = st.lists(_molecules(), max_size=6)
LINE_ENDS = st.sampled_from(["\n", "\n", "\r\n"])
ENCODINGS = st.sampled_from(["utf-8", "utf-8", "utf-8-sig", "latin-1"])


@dataclass(frozen=True)
class MoleculeFile:
    """A file of molecules: its suffix, what it holds, how it is written down."""

    suffix: str
    molecules: list[Molecule]
    line_end: str
    encoding: str

    def content(self) -> bytes:
        """The bytes of the file, not yet compressed."""
        write = {"sdf": _sdf, "v3000": _v3000, "xyz": _xyz}[self.suffix]
        text = "".join(map(write, self.molecules))
        return text.replace("\n", self.line_end).encode(self.encoding, errors="replace")

    @property
    def file_suffix(self) -> str:
        """Of its name."""
        return {"v3000": ".sdf"}.get(self.suffix, f".{self.suffix}")


MOLECULE_FILES = st.builds(
    MoleculeFile, st.sampled_from(["sdf", "v3000", "xyz"]), MOLECULES, LINE_ENDS, ENCODINGS
)  # fmt: skip


def _xyz(molecule: Molecule) -> str:
    rows = zip(molecule.symbols, molecule.coordinates, strict=True)
    return f"{len(molecule.symbols)}\n#{molecule.name}\n" + "".join(f"{s} {' '.join(xyz)}\n" for s, xyz in rows)


def _sdf(molecule: Molecule) -> str:
    rows = zip(molecule.symbols, molecule.coordinates, strict=True)
    atoms = "".join(f"  {' '.join(xyz)} {s}  0  0\n" for s, xyz in rows)
    counts = f"{len(molecule.symbols):3d}  0  0  0  0  0  0  0  0  0999 V2000\n"
    item = f">  <id {molecule.name}>\n{molecule.name}\n\n"
    return f"{_title(molecule)}{counts}{atoms}{molecule.charged}\nM  END\n{item}$$$$\n"


def _v3000(molecule: Molecule) -> str:
    rows = zip(molecule.symbols, molecule.coordinates, strict=True)
    atoms = "".join(f"M  V30 {i} {s} {' '.join(xyz)} 0\n" for i, (s, xyz) in enumerate(rows, start=1))
    return (
        f"{_title(molecule)}  0  0  0     0  0            999 V3000\nM  V30 BEGIN CTAB\n"
        f"M  V30 COUNTS {len(molecule.symbols)} 0 0 0 0\nM  V30 BEGIN ATOM\n{atoms}M  V30 END ATOM\nM  V30 END CTAB\n"
        "M  END\n$$$$\n"
    )


def _title(molecule: Molecule) -> str:
    return f"#{molecule.name}\n  {'fuzz':<8}{'':10}3D\n\n"


@dataclass(frozen=True)
class Damage:
    """A change of bytes at a place given as a share of the file, so that it fits any file."""

    kind: str
    place: float
    length: int
    value: bytes

    def __call__(self, data: bytes) -> bytes:
        at = min(int(self.place * len(data)), max(len(data) - 1, 0))
        match self.kind:
            case "cut":
                return data[:at]
            case "flip" if data:
                return data[:at] + bytes([data[at] ^ (1 << self.length % 8)]) + data[at + 1 :]
            case "drop":
                return data[:at] + data[at + self.length :]
            case "repeat":
                return data[: at + self.length] + data[at : at + self.length] * 3 + data[at + self.length :]
            case "write":
                return data[:at] + self.value + data[at + len(self.value) :]
            case "insert":
                return data[:at] + self.value + data[at:]
        return data


_VALUES = st.one_of(
    st.binary(min_size=1, max_size=9),
    st.sampled_from([b"\0" * 8, b"\xff" * 8, b"nan", b"1e30", b"999999999", b"-1", b"\n", b"\r\n", b"$$$$\n", b"\"",
                     b"{", b"[" * 50, b"\xe4", b" "]),
)  # fmt: skip
DAMAGES = st.lists(
    st.builds(
        Damage,
        st.sampled_from(["cut", "flip", "flip", "flip", "drop", "repeat", "write", "insert"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(1, 40),
        _VALUES,
    ),
    min_size=1,
    max_size=4,
)


def damaged(data: bytes, damages: list[Damage]) -> bytes:
    """The bytes after all damages."""
    for damage in damages:
        data = damage(data)
    return data


# Values of options: numbers in and out of range, lists, what some option takes, and what none does.
WORDS = st.sampled_from(
    ["-1", "0", "1", "2", "3.5", "0.5", "1000", "nan", "inf", "-inf", "1e30", "1e-30", "99999999999999999999",
     "-99999999999999999999", "1:2", "0:5:0", "5:1", "1,2,3", "0.5,0.5", ",", "auto", "cpu", "train", "all", "cosine",
     "size", "matched", "size,matched", "heun", "ddim", "even", "edm", "strict", "none", "valid", "quantile", "paper",
     "x0", "v", "lognormal", "bfloat16", "naive", "torch", "x.png", "x.smi", "x.h5", "x.json", "variance",
     "", " ", "x", "é", "../x", "a/b", "no such file.sdf", ".", "\x1b[0m", "👩‍🔬"]
)  # fmt: skip

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)

_ROWS = st.sampled_from(
    ["C", "CCO", "OCC", "c1ccccc1", "[NH4+]", "CC(=O)[O-].[Na+]", "OB(O)C", "[Pt](Cl)N", "xx", "C1CC", "*C", "",
     "C\0C", "C" * 10_000, "(" * 3_000, "C,C", '"C', '"CC"', "C;1", "C\t1", "säure", "\x1b[31m", "[" * 99, "C/C=C/C",
     "[2H]C", "#"]
)  # fmt: skip


@st.composite
def _smiles_tables(draw: st.DrawFn) -> tuple[str, bytes, list[Damage], list[str]]:
    """A file's name and content, damages, and options that choose among its molecules."""
    suffix = draw(st.sampled_from([".csv", ".smi", ".csv.gz", ".smi.gz"]))
    heading = draw(st.sampled_from(["smiles", "id,SMILES", "canonical_smiles;x", "x", ""]))
    rows = draw(st.lists(st.tuples(st.sampled_from(["", "a,", "1;"]), _ROWS), max_size=6))
    text = "\n".join([heading, *(before + smiles for before, smiles in rows)])
    content = text.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "latin-1"])), "replace")
    if suffix.endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    options = ["--largest-fragment", "--neutral", "--no-duplicates"]
    chosen = draw(st.lists(st.sampled_from(options), max_size=2, unique=True))
    return f"m{suffix}", content, draw(st.one_of(st.just([]), DAMAGES)), chosen


SMILES_TABLES = _smiles_tables()
