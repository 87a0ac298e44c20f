// Histograms of the molecules (a line) and of the data (grey), in percent, as `gaga evaluate --plot` draws them.
function chart(histogram) {
  const width = 340, height = 210, left = 40, right = 10, top = 10, bottom = 42;
  const share = (counts) => { const all = counts.reduce((a, b) => a + b, 0); return all ? counts.map((c) => (100 * c) / all) : []; };
  const own = share(histogram.counts), data = share(histogram.data || []);
  const used = [...own.keys(), ...data.keys()].filter((k) => (own[k] || 0) > 0.01 || (data[k] || 0) > 0.01);
  const low = Math.min(...used), high = Math.max(...used) + 1, most = Math.max(...own, ...data);
  const x = (k) => left + ((width - left - right) * (k - low)) / (high - low);
  const y = (value) => height - bottom - ((height - top - bottom) * value) / most;
  const steps = (shares) => {
    let path = `M${x(low)} ${y(0)}`;
    for (let k = low; k < high; k++) path += `L${x(k)} ${y(shares[k] || 0)}L${x(k + 1)} ${y(shares[k] || 0)}`;
    return path + `L${x(high)} ${y(0)}`;
  };
  const value = (k) => histogram.width * k - histogram.before;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", class: "chart" });
  picture.setAttribute("aria-label", `Histogram of ${histogram.title}: ${summary(own, value, "the molecules")}${data.length ? "; " + summary(data, value, "the data") : ""}`);
  if (data.length) picture.append(svg("path", { d: steps(data), class: "of-data" }));
  if (own.length) picture.append(svg("path", { d: steps(own), class: "of-own" }));
  picture.append(svg("line", { x1: left, x2: width - right, y1: y(0), y2: y(0), class: "axis" }));
  for (const tick of ticks(value(low) + histogram.tick, value(high) - histogram.width + histogram.tick)) {
    const at = x((tick + histogram.before - histogram.tick) / histogram.width + (histogram.tick ? 0.5 : 0));
    picture.append(svg("line", { x1: at, x2: at, y1: y(0), y2: y(0) + 4, class: "axis" }));
    picture.append(svg("text", { x: at, y: y(0) + 17, "text-anchor": "middle" }, String(Number(tick.toPrecision(6)))));
  }
  for (const tick of ticks(0, most)) {
    picture.append(svg("text", { x: left - 5, y: y(tick) + 4, "text-anchor": "end" }, String(Number(tick.toPrecision(6)))));
  }
  picture.append(svg("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, histogram.unit));
  return element("figure", {}, element("figcaption", {}, `${histogram.title}, %`), picture);
}

function summary(shares, value, whose) {
  let sum = 0;
  const middle = shares.findIndex((share) => (sum += share) >= 50);
  return middle < 0 ? `${whose} have none` : `median of ${whose} about ${Number(value(middle + 0.5).toPrecision(3))}`;
}

function ticks(low, high) {
  const raw = (high - low) / 5 || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= raw);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9; k++) found.push(k * step);
  return found;
}

function fillQuality() {
  const { rates, histograms } = DATA;
  if (!rates.rows.length && !histograms.length) return document.getElementById("quality").remove();
  document.getElementById("quality-about").textContent = DATA.quality_about;
  const table = document.getElementById("rates");
  table.append(element("thead", {}, element("tr", {}, ...rates.columns.map((name) => element("th", { scope: "col" }, name)))));
  const rows = rates.rows.map(([name, ...cells]) =>
    element("tr", {}, element("th", { scope: "row" }, name), ...cells.map((cell) => element("td", {}, cell))));
  table.append(element("tbody", {}, ...rows));
  const charts = document.getElementById("charts");
  if (histograms.some((each) => each.data))
    charts.before(element("p", { class: "legend" }, element("span", { class: "own" }), " these molecules ", element("span", { class: "data" }), ` ${DATA.data_name}`));
  charts.append(...histograms.map(chart));
}
