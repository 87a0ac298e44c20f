// Balls and sticks on a canvas, drawn from the back to the front. Bonds are pairs that are close.
class Viewer {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.pointers = new Map();
    this.frame = null;
    this.reset();
    const on = (name, act, options) => canvas.addEventListener(name, act, options);
    on("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); this.pointers.set(event.pointerId, event); });
    on("pointermove", (event) => this.moved(event));
    for (const name of ["pointerup", "pointercancel"]) on(name, (event) => this.pointers.delete(event.pointerId));
    on("wheel", (event) => { event.preventDefault(); this.zoomBy(Math.exp(-event.deltaY / 500)); }, { passive: false });
    on("keydown", (event) => this.pressed(event));
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  reset() {
    this.turn = [1, 0, 0, 0, 1, 0, 0, 0, 1];
    this.zoom = 1;
    this.rotate(0.5, 0.35);
  }

  // `reach` is the distance of the farthest atom of all frames, so that playing does not change the scale.
  show(frame, reach, kept) {
    Object.assign(this, { frame, reach, kept, bonds: closePairs(frame) });
    this.draw();
  }

  moved(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    if (this.pointers.size === 1) this.rotate((event.clientX - before.clientX) / 120, (event.clientY - before.clientY) / 120);
    else {
      const other = [...this.pointers.values()].find((one) => one.pointerId !== event.pointerId);
      const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
      this.zoomBy(apart(event) / apart(before));
    }
    this.pointers.set(event.pointerId, event);
  }

  pressed(event) {
    const step = 0.15;
    const acts = {
      ArrowLeft: () => this.rotate(-step, 0), ArrowRight: () => this.rotate(step, 0),
      ArrowUp: () => this.rotate(0, -step), ArrowDown: () => this.rotate(0, step),
      "+": () => this.zoomBy(1.15), "=": () => this.zoomBy(1.15), "-": () => this.zoomBy(1 / 1.15),
      0: () => { this.reset(); this.draw(); },
    };
    if (!acts[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    acts[event.key]();
  }

  zoomBy(factor) {
    this.zoom = Math.min(8, Math.max(0.3, this.zoom * factor));
    this.draw();
  }

  // By these angles around the vertical and the horizontal axis of the screen.
  rotate(yaw, pitch) {
    const [a, b, c, d] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    const by = [a, 0, b, b * d, c, -a * d, -b * c, d, a * c], old = this.turn;
    this.turn = Array.from({ length: 9 }, (_, k) => {
      const row = 3 * Math.floor(k / 3), column = k % 3;
      return by[row] * old[column] + by[row + 1] * old[3 + column] + by[row + 2] * old[6 + column];
    });
    this.draw();
  }

  draw() {
    const ratio = window.devicePixelRatio || 1, width = this.canvas.clientWidth, height = this.canvas.clientHeight;
    const context = this.context;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    if (!this.frame || !this.frame.numbers.length) return;
    const { numbers, positions } = this.frame, m = this.turn, n = numbers.length;
    const scale = (this.zoom * Math.min(width, height)) / (2 * this.reach + 1.4);
    const X = new Float32Array(n), Y = new Float32Array(n), Z = new Float32Array(n), R = new Float32Array(n);
    for (let k = 0; k < n; k++) {
      const [x, y, z] = positions.subarray(3 * k, 3 * k + 3);
      const near = 1 / (1 - (m[6] * x + m[7] * y + m[8] * z) / (6 * this.reach + 12));
      X[k] = width / 2 + scale * near * (m[0] * x + m[1] * y + m[2] * z);
      Y[k] = height / 2 - scale * near * (m[3] * x + m[4] * y + m[5] * z);
      Z[k] = m[6] * x + m[7] * y + m[8] * z;
      R[k] = scale * near * (0.16 + 0.3 * DATA.elements[numbers[k]][1]);
    }
    const parts = [];
    for (let k = 0; k < n; k++) parts.push([Z[k], () => this.ball(X[k], Y[k], R[k], numbers[k], this.kept.has(k))]);
    for (const [p, q] of this.bonds) {
      const x = (X[p] + X[q]) / 2, y = (Y[p] + Y[q]) / 2, wide = scale * 0.2;
      parts.push([Z[p] * 0.75 + Z[q] * 0.25 - 0.05, () => this.stick(X[p], Y[p], x, y, wide, numbers[p])]);
      parts.push([Z[q] * 0.75 + Z[p] * 0.25 - 0.05, () => this.stick(x, y, X[q], Y[q], wide, numbers[q])]);
    }
    for (const [, paint] of parts.sort((one, other) => one[0] - other[0])) paint();
  }

  ball(x, y, r, number, kept) {
    const context = this.context, colour = DATA.elements[number][2];
    const shade = context.createRadialGradient(x - r * 0.35, y - r * 0.4, r * 0.1, x, y, r);
    shade.addColorStop(0, "#ffffff");
    shade.addColorStop(0.35, colour);
    shade.addColorStop(1, darker(colour));
    context.beginPath();
    context.arc(x, y, r, 0, 2 * Math.PI);
    context.fillStyle = shade;
    context.fill();
    context.lineWidth = kept ? Math.max(3, r * 0.3) : 1;
    context.strokeStyle = kept ? "#f5a800" : "#00000066";
    context.stroke();
  }

  stick(x, y, x2, y2, wide, number) {
    const context = this.context;
    context.lineCap = "round";
    for (const [width, colour] of [[wide, darker(DATA.elements[number][2])], [wide * 0.55, DATA.elements[number][2]]]) {
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x2, y2);
      context.lineWidth = Math.max(1, width);
      context.strokeStyle = colour;
      context.stroke();
    }
  }
}

const darker = (colour) => "#" + [1, 3, 5].map((k) => Math.round(parseInt(colour.slice(k, k + 2), 16) * 0.55).toString(16).padStart(2, "0")).join("");

function closePairs({ numbers, positions }) {
  const pairs = [], n = numbers.length;
  if (n > 3000) return pairs;  // every pair is looked at
  for (let p = 0; p < n; p++)
    for (let q = 0; q < p; q++) {
      const [dx, dy, dz] = [0, 1, 2].map((axis) => positions[3 * p + axis] - positions[3 * q + axis]);
      const most = DATA.bond_factor * (DATA.elements[numbers[p]][1] + DATA.elements[numbers[q]][1]);
      if (dx * dx + dy * dy + dz * dz < most * most) pairs.push([p, q]);
    }
  return pairs;
}

function reachOf(frames) {
  let most = 0;
  for (const { positions } of frames)
    for (let k = 0; k < positions.length; k += 3)
      most = Math.max(most, Math.hypot(positions[k], positions[k + 1], positions[k + 2]));
  return most;
}
