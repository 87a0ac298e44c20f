// Molecules drawn flat, from places that RDKit chose. A drawing is made when its row is scrolled to.
const WEDGE = 4, HASH = 5;

function labelOf(symbol, hydrogens, charge, left) {
  const label = svg("tspan");
  const part = (text, shift, small) => label.append(svg("tspan", small ? { dy: shift, "font-size": "72%" } : { dy: shift }, text));
  const ofHydrogen = () => {
    if (!hydrogens) return;
    part("H", "0");
    if (hydrogens > 1) { part(String(hydrogens), "0.25em", true); part("\u200b", "-0.18em"); }
  };
  if (left) ofHydrogen();
  part(symbol, "0");
  if (!left) ofHydrogen();
  if (charge) part((Math.abs(charge) > 1 ? Math.abs(charge) : "") + (charge > 0 ? "+" : "−"), "-0.45em", true);
  return label;
}

function drawMolecule(i, width, height) {
  const D = DRAWINGS, first = D.atomOffsets[i], n = D.atomOffsets[i + 1] - first;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img" });
  picture.setAttribute("aria-label", n ? `Drawing of ${nameOf(i)}` : `${nameOf(i)} cannot be drawn`);
  if (!n) {
    picture.append(svg("text", { x: width / 2, y: height / 2, class: "nothing" }, "not drawn"));
    return picture;
  }
  const x = [], y = [], numbers = [];
  for (let k = 0; k < n; k++) {
    x.push(D.places[2 * (first + k)] * D.place);
    y.push(-D.places[2 * (first + k) + 1] * D.place);
    numbers.push(MOLECULES.numbers[MOLECULES.offsets[i] + D.atoms[first + k]]);
  }
  const [left, right, top, bottom] = [Math.min(...x), Math.max(...x), Math.min(...y), Math.max(...y)];
  const margin = Math.min(18, height / 6);
  const scale = Math.min(Math.min(height / 4.2, 26) / 1.0, (width - 2 * margin) / (right - left || 1), (height - 2 * margin) / (bottom - top || 1));
  const px = x.map((v) => width / 2 + (v - (left + right) / 2) * scale);
  const py = y.map((v) => height / 2 + (v - (top + bottom) / 2) * scale);
  const size = Math.max(7, Math.min(15, scale * 0.6)), perceived = D.perceived[i] === 1;
  const neighbours = Array.from({ length: n }, () => []), bonds = [];
  for (let b = D.bondOffsets[i]; b < D.bondOffsets[i + 1]; b++) {
    const [p, q] = [D.bonds[2 * b], D.bonds[2 * b + 1]];
    bonds.push([p, q, D.orders[b]]);
    neighbours[p].push(q);
    neighbours[q].push(p);
  }
  const written = numbers.map((number, k) => number !== 6 || !neighbours[k].length || D.charges[first + k] !== 0);
  const isKept = (k) => KEPT.has(D.atoms[first + k]) && isRowKept(i);
  const kept = svg("g", { class: "kept" }), lines = svg("path", { class: "bond" }), solid = svg("path", { class: "wedge" });
  let path = "", wedges = "";
  const thick = Math.max(1, scale * 0.055);
  for (const [p, q, order] of bonds) {
    const length = Math.hypot(px[q] - px[p], py[q] - py[p]) || 1;
    const ux = (px[q] - px[p]) / length, uy = (py[q] - py[p]) / length;
    const gap = (k) => (written[k] ? Math.min(size * 0.62, length / 3) : 0);
    const ax = px[p] + ux * gap(p), ay = py[p] + uy * gap(p), bx = px[q] - ux * gap(q), by = py[q] - uy * gap(q);
    if (isKept(p) && isKept(q)) kept.append(svg("line", { x1: px[p], y1: py[p], x2: px[q], y2: py[q] }));
    const shifted = (d, cut) => `M${ax - uy * d + ux * cut} ${ay + ux * d + uy * cut}L${bx - uy * d - ux * cut} ${by + ux * d - uy * cut}`;
    const apart = scale * 0.17;
    if (order === 2) {
      // The second line is on the side of the other neighbours, such as within a ring.
      let side = 0;
      for (const [end, other] of [[p, q], [q, p]])
        for (const k of neighbours[end]) if (k !== other) side += Math.sign(ux * (py[k] - py[p]) - uy * (px[k] - px[p]));
      if (side === 0) path += shifted(apart / 2, 0) + shifted(-apart / 2, 0);
      else path += shifted(0, 0) + shifted(apart * Math.sign(side), written[p] || written[q] ? apart / 2 : apart);
    } else if (order === 3) path += shifted(0, 0) + shifted(apart, 0) + shifted(-apart, 0);
    else if (order === WEDGE) {
      const w = scale * 0.13;
      wedges += `M${ax} ${ay}L${bx - uy * w} ${by + ux * w}L${bx + uy * w} ${by - ux * w}Z`;
    } else if (order === HASH) {
      for (let s = 1; s <= 6; s++) {
        const t = s / 6, w = scale * 0.13 * t, cx = ax + (bx - ax) * t, cy = ay + (by - ay) * t;
        path += `M${cx - uy * w} ${cy + ux * w}L${cx + uy * w} ${cy - ux * w}`;
      }
    } else path += shifted(0, 0);
  }
  lines.setAttribute("d", path);
  solid.setAttribute("d", wedges);
  for (const shape of [lines, kept]) shape.setAttribute("stroke-width", shape === lines ? thick : scale * 0.5);
  picture.append(kept, lines, solid);
  for (let k = 0; k < n; k++) {
    if (isKept(k)) kept.append(svg("circle", { cx: px[k], cy: py[k], r: scale * 0.25 }));
    if (!written[k] && perceived) continue;
    if (!written[k] && neighbours[k].length) continue;
    const [symbol, , colour] = DATA.elements[numbers[k]], hydrogens = D.hydrogens[first + k], charge = D.charges[first + k];
    const away = neighbours[k].reduce((sum, other) => sum + px[other] - px[k], 0);
    const toLeft = hydrogens > 0 && away > size * 0.2;
    const half = size * 0.36 * symbol.length;
    const text = svg("text", {
      x: toLeft ? px[k] + half : px[k] - half, y: py[k] + size * 0.36, "font-size": size,
      "text-anchor": toLeft ? "end" : "start", fill: numbers[k] === 1 ? "#555" : colour,
    });
    text.append(labelOf(symbol, hydrogens, charge, toLeft));
    picture.append(text);
  }
  return picture;
}

const isRowKept = (i) => !DATA.kept_rows || DATA.kept_rows[i] === 1;
