// The table: only the rows that can be seen are in the document, so that it opens at once however many there are.
const WIDTHS = { name: 92, formula: 92, number: 62, atoms: 62, connected: 88, reason: 190 }, OF_KIND = { text: 150, number: 84, flag: 66 };
const ROW = 92, SPARE = 5, DRAWN = [116, 84];

const widthOf = (column) => WIDTHS[column.key] || OF_KIND[column.kind];

class MoleculeTable {
  constructor(choose) {
    this.choose = choose;
    this.order = Array.from({ length: N }, (_, i) => i);
    [this.sortKey, this.ascending, this.chosen, this.focused] = ["number", true, -1, 0];
    this.box = document.getElementById("rows");
    this.body = document.getElementById("body");
    this.box.addEventListener("scroll", () => requestAnimationFrame(() => this.draw()));
    this.body.addEventListener("click", (event) => { const row = event.target.closest("tr[data-row]"); if (row) this.pick(Number(row.dataset.row)); });
    this.body.addEventListener("keydown", (event) => this.pressed(event));
    new ResizeObserver(() => this.draw()).observe(this.box);
    this.setColumns(false);
  }

  setColumns(all) {
    this.columns = DATA.columns.filter((column) => all || column.shown !== "more");
    const head = document.getElementById("head");
    head.replaceChildren(element("th", { scope: "col", class: "drawing" }, "drawing"), ...this.columns.map((column) => {
      const button = element("button", { type: "button" }, column.label);
      button.addEventListener("click", () => this.sortBy(column.key, this.sortKey === column.key ? !this.ascending : true));
      return element("th", { scope: "col", "data-key": column.key, class: `${column.kind} ${column.shown}`, style: `width:${widthOf(column)}px` }, button);
    }));
    this.box.querySelector("table").setAttribute("aria-colcount", this.columns.length + 1);
    this.box.querySelector("table").style.minWidth = `${this.columns.reduce((sum, column) => sum + widthOf(column), 128)}px`;
    this.markSorted();
    this.draw(true);
  }

  markSorted() {
    for (const cell of document.querySelectorAll("#head th[data-key]"))
      cell.setAttribute("aria-sort", cell.dataset.key !== this.sortKey ? "none" : this.ascending ? "ascending" : "descending");
  }

  sortBy(key, ascending) {
    [this.sortKey, this.ascending] = [key, ascending];
    this.sort();
    this.markSorted();
    document.dispatchEvent(new CustomEvent("sorted", { detail: { key, ascending } }));
  }

  sort() {
    const values = COLUMN[this.sortKey].values, sign = this.ascending ? 1 : -1;
    const none = (value) => value === null || value === undefined || value === "";
    this.order.sort((a, b) => {
      const [x, y] = [values[a], values[b]];
      if (none(x) || none(y)) return none(x) - none(y) || a - b;  // what is not known is last either way
      return (x < y ? -sign : x > y ? sign : 0) || a - b;
    });
    this.box.scrollTop = 0;
    this.focused = 0;
    this.draw(true);
  }

  filter(words, flags) {
    const tests = words.split(/\s+/).filter(Boolean).map(testOf);
    for (const [key, wanted] of Object.entries(flags)) if (wanted !== "") tests.push((i) => COLUMN[key].values[i] === (wanted === "yes"));
    this.order = [];
    for (let i = 0; i < N; i++) if (tests.every((test) => test(i))) this.order.push(i);
    this.sort();
    return this.order.length;
  }

  draw(anew = false) {
    const heading = this.box.querySelector("thead").offsetHeight;
    const first = Math.max(0, Math.floor(this.box.scrollTop / ROW) - SPARE);
    const last = Math.min(this.order.length, Math.ceil((this.box.scrollTop + this.box.clientHeight - heading) / ROW) + SPARE);
    if (!anew && first === this.first && last === this.last) return;
    [this.first, this.last] = [first, last];
    const hadFocus = this.body.contains(document.activeElement);
    const rows = [];
    for (let place = first; place < last; place++) rows.push(this.row(place));
    const spacer = (count) => element("tr", { "aria-hidden": "true", class: "spacer", style: `height:${count * ROW}px` });
    this.body.replaceChildren(spacer(first), ...rows, spacer(Math.max(0, this.order.length - last)));
    this.box.querySelector("table").setAttribute("aria-rowcount", this.order.length + 1);
    if (!rows.some((row) => row.tabIndex === 0) && rows.length) rows[Math.min(SPARE, rows.length - 1)].tabIndex = 0;
    if (hadFocus) this.body.querySelector("tr[tabindex='0']")?.focus({ preventScroll: true });
  }

  row(place) {
    const i = this.order[place];
    const row = element("tr", { "data-row": i, "aria-rowindex": place + 2, tabindex: place === this.focused ? 0 : -1, "aria-selected": i === this.chosen });
    row.append(element("td", { class: "drawing" }, drawMolecule(i, ...DRAWN)));
    for (const column of this.columns) {
      const text = shownText(column, i), flag = column.kind === "flag" ? ` is-${text}` : "";
      row.append(element("td", { class: `${column.kind} ${column.shown}${flag}`, title: text }, element("span", {}, text)));
    }
    return row;
  }

  pick(i) {
    this.chosen = i;
    this.focused = Math.max(0, this.order.indexOf(i));
    this.draw(true);
    this.choose(i);
  }

  pressed(event) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / ROW) - 1), last = this.order.length - 1;
    const to = { ArrowDown: this.focused + 1, ArrowUp: this.focused - 1, PageDown: this.focused + page, PageUp: this.focused - page, Home: 0, End: last }[event.key];
    const isChoice = event.key === "Enter" || event.key === " ";
    if ((to === undefined && !isChoice) || last < 0) return;
    event.preventDefault();
    this.focused = Math.min(last, Math.max(0, to ?? this.focused));
    const top = this.focused * ROW, heading = this.box.querySelector("thead").offsetHeight;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + ROW > this.box.scrollTop + this.box.clientHeight - heading) this.box.scrollTop = top + ROW - this.box.clientHeight + heading;
    this.pick(this.order[this.focused]);
    this.body.querySelector("tr[tabindex='0']")?.focus({ preventScroll: true });
  }
}

// Letters' case counts in SMILES and formulas alone: c is not C there.
function testOf(word) {
  const parts = /^([^<>=]+)(<=|>=|<|>|=)(.+)$/.exec(word);
  const column = parts && DATA.columns.find((one) => [one.key, one.label].some((name) => name.toLowerCase().replaceAll(" ", "_") === parts[1].toLowerCase()));
  if (column) return comparison(column, parts[2], parts[3]);
  const folded = word.toLowerCase(), texts = DATA.columns.filter((one) => one.kind === "text");
  const has = (one, i) => one.exact ? String(one.values[i] ?? "").includes(word) : String(one.values[i] ?? "").toLowerCase().includes(folded);
  return (i) => texts.some((one) => has(one, i));
}

function comparison(column, sign, wanted) {
  const number = Number(wanted), isNumber = column.kind === "number" && !Number.isNaN(number);
  return (i) => {
    const value = column.values[i];
    if (value === null || value === undefined || value === "") return false;
    if (sign === "=") return isNumber ? value === number : shownText(column, i).toLowerCase() === wanted.toLowerCase();
    if (!isNumber) return false;
    return { "<": value < number, ">": value > number, "<=": value <= number, ">=": value >= number }[sign];
  };
}
