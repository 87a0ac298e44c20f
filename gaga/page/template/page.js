// The page as a whole: what is chosen, filtered, sorted and played.
const byId = (id) => document.getElementById(id);
const viewer = new Viewer(byId("viewer"));
let frames = [], reach = 0, playing = null, current = -1;

function showFrame(k) {
  byId("frame").value = k;
  byId("frame-text").textContent = `${k + 1} of ${frames.length}`;
  viewer.show(frames[k], reach, isRowKept(current) ? KEPT : new Set());
}

function stop() {
  clearInterval(playing);
  playing = null;
  byId("play").textContent = "Play";
}

function play() {
  if (playing) return stop();
  let k = Number(byId("frame").value);
  if (k === frames.length - 1) k = -1;
  byId("play").textContent = "Pause";
  playing = setInterval(() => { showFrame(++k); if (k >= frames.length - 1) stop(); }, Math.max(40, 4000 / frames.length));
}

function choose(i) {
  stop();
  current = i;
  frames = framesOf(i);
  reach = reachOf(frames.slice(-1));
  byId("shown-name").textContent = nameOf(i);
  byId("shown-verdict").textContent = DATA.columns.filter((one) => one.kind === "flag" && one.values[i] !== null)
    .map((one) => (one.values[i] ? one.label : `not ${one.label}`)).join(", ") + (COLUMN.reason.values[i] ? ` (${COLUMN.reason.values[i]})` : "");
  const formula = COLUMN.formula.values[i], atoms = COLUMN.atoms.values[i];
  byId("viewer").setAttribute("aria-label", atoms ? `3D model of ${formula}, ${atoms} atoms` : "No atoms to show");
  byId("player").hidden = frames.length < 2;
  byId("frame").max = frames.length - 1;
  showFrame(frames.length - 1);
  byId("shown-drawing").replaceChildren(drawMolecule(i, 300, 200));
  byId("facts").replaceChildren(...DATA.columns.filter((one) => shownText(one, i) !== "–")
    .flatMap((one) => [element("dt", {}, one.label), element("dd", {}, shownText(one, i))]));
}

byId("title").textContent = DATA.title;
byId("about").textContent = DATA.about;
byId("made").textContent = DATA.made;
const table = new MoleculeTable(choose);

const flags = {};
for (const column of DATA.columns.filter((one) => one.kind === "flag" && new Set(one.values).size > 1)) {
  const select = element("select", { id: `flag-${column.key}` }, ...[["", "any"], ["yes", "yes"], ["no", "no"]].map(([value, text]) => element("option", { value }, text)));
  select.addEventListener("change", () => { flags[column.key] = select.value; filter(); });
  byId("flags").append(element("p", { class: "field" }, element("label", { for: select.id }, column.label), select));
}

function filter() {
  const found = table.filter(byId("words").value, flags);
  byId("count").textContent = found === N ? `${N.toLocaleString("en")} molecules` : `${found.toLocaleString("en")} of ${N.toLocaleString("en")} molecules`;
}

let waiting;
byId("words").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
byId("filter").addEventListener("submit", (event) => { event.preventDefault(); filter(); });
for (const column of DATA.columns)
  for (const [ascending, arrow] of [[true, "↑"], [false, "↓"]])
    byId("sort").append(element("option", { value: JSON.stringify([column.key, ascending]) }, `${column.label} ${arrow}`));
byId("sort").addEventListener("change", () => table.sortBy(...JSON.parse(byId("sort").value)));
document.addEventListener("sorted", ({ detail }) => { byId("sort").value = JSON.stringify([detail.key, detail.ascending]); });
byId("all").addEventListener("change", () => table.setColumns(byId("all").checked));
byId("all-field").hidden = !DATA.columns.some((one) => one.shown === "more");
byId("frame").addEventListener("input", () => { stop(); showFrame(Number(byId("frame").value)); });
byId("play").addEventListener("click", play);
if (window.matchMedia("(max-width: 760px)").matches) byId("more").open = false;
fillQuality();
filter();
if (N) table.pick(table.order[0]);
