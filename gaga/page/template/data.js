// What gaga/page/pack.py packed: numbers in base64, little-endian, as every browser has them.
const DATA = JSON.parse(document.getElementById("data").textContent);

function unpacked(text, Type) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let k = 0; k < raw.length; k++) bytes[k] = raw.charCodeAt(k);
  return new Type(bytes.buffer);
}

function offsetsOf(counts) {
  const offsets = new Uint32Array(counts.length + 1);
  for (let k = 0; k < counts.length; k++) offsets[k + 1] = offsets[k] + counts[k];
  return offsets;
}

const MOLECULES = (() => {
  const found = DATA.molecules;
  return {
    offsets: offsetsOf(unpacked(found.sizes, Uint16Array)),
    numbers: unpacked(found.numbers, Uint8Array),
    units: unpacked(found.positions.units, Int16Array),
    unit: found.positions.unit,
  };
})();
const N = MOLECULES.offsets.length - 1;

const DRAWINGS = (() => {
  const found = DATA.drawings;
  return {
    atomOffsets: offsetsOf(unpacked(found.atom_counts, Uint16Array)),
    bondOffsets: offsetsOf(unpacked(found.bond_counts, Uint16Array)),
    perceived: unpacked(found.perceived, Uint8Array),
    atoms: unpacked(found.atoms, Uint16Array),
    places: unpacked(found.places, Int16Array),
    hydrogens: unpacked(found.hydrogens, Uint8Array),
    charges: unpacked(found.charges, Int8Array),
    bonds: unpacked(found.bonds, Uint16Array),
    orders: unpacked(found.orders, Uint8Array),
    place: found.place,
  };
})();

const KEPT = new Set(DATA.kept);

// Frames of a molecule, the last of them the molecule itself: {numbers, positions in Å} each.
function framesOf(i) {
  const found = DATA.frames[i];
  if (!found) {
    const from = MOLECULES.offsets[i], to = MOLECULES.offsets[i + 1];
    return [{
      numbers: MOLECULES.numbers.subarray(from, to),
      positions: Float32Array.from(MOLECULES.units.subarray(3 * from, 3 * to), (x) => x * MOLECULES.unit),
    }];
  }
  const numbers = unpacked(found.numbers, Uint8Array), units = unpacked(found.positions.units, Int16Array);
  const offsets = offsetsOf(unpacked(found.sizes, Uint16Array));
  return Array.from({ length: offsets.length - 1 }, (_, k) => ({
    numbers: numbers.subarray(offsets[k], offsets[k + 1]),
    positions: Float32Array.from(units.subarray(3 * offsets[k], 3 * offsets[k + 1]), (x) => x * found.positions.unit),
  }));
}

const COLUMN = Object.fromEntries(DATA.columns.map((column) => [column.key, column]));
const nameOf = (i) => COLUMN.name?.values[i] || `molecule ${i + 1}`;

function shownText(column, i) {
  const value = column.values[i];
  if (value === null || value === undefined || value === "") return "–";
  if (column.kind === "flag") return value ? "yes" : "no";
  if (column.kind === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(5)));
  return String(value);
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
