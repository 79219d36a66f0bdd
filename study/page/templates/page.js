"use strict";
/* What the page does beyond being read: the table of cells sorts and filters, and the points of
   figures tell their numbers. Their data are in the page: `data-points` of a figure holds
   [x, y, cell, words], x and y as fractions of the picture. */

const table = document.getElementById("table");
const heads = table ? [...table.tHead.rows[0].cells] : [];
const rows = table ? [...table.tBodies[0].rows] : [];
const filter = document.getElementById("filter");

/* The number that a text begins with, "4.2×10⁻⁴ [...]" or "10,000"; NaN if it begins with none. */
function number(text) {
  const digits = text.replace(/[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]/g, c => "-0123456789"["⁻⁰¹²³⁴⁵⁶⁷⁸⁹".indexOf(c)]);
  const plain = digits.replace("×10", "e").replaceAll(",", "").replaceAll("−", "-");
  return /^-?[\d.∞]/.test(plain) ? parseFloat(plain.replace("∞", "Infinity")) : NaN;
}

/* Numbers ascend before texts; the first column has names, some of which look like numbers. */
function compare(column) {
  return (a, b) => {
    const [s, t] = [a, b].map(row => row.cells[column].textContent);
    const [x, y] = column ? [number(s), number(t)] : [NaN, NaN];
    if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y) || s.localeCompare(t);
    return x < y ? -1 : +(x > y);
  };
}

function sort(column) {
  const up = heads[column].ariaSort !== "ascending";
  heads.forEach(head => { head.ariaSort = "none"; });
  heads[column].ariaSort = up ? "ascending" : "descending";
  const order = compare(column);
  rows.sort((a, b) => up ? order(a, b) : order(b, a));
  table.tBodies[0].append(...rows);
}

heads.forEach((head, column) => {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  button.addEventListener("click", () => sort(column));
  head.append(button);
  head.ariaSort = "none";
});

const HOLDS = {
  "=": (x, y) => x === y, "!=": (x, y) => x !== y, "<": (x, y) => x < y, ">": (x, y) => x > y,
  "<=": (x, y) => x <= y, ">=": (x, y) => x >= y,
};

/* The column that a term names: all of its head, or its last part ("width"), or some of it. */
function columnOf(name) {
  const names = heads.map(head => head.textContent.toLowerCase().replaceAll(" ", ""));
  const key = name === "N" ? "data.n_train" : name.toLowerCase();
  const tests = [n => n === key, n => n.endsWith("." + key), n => n.includes(key)];
  return Math.max(-1, ...tests.map(test => names.findIndex(test)).filter(k => k >= 0).slice(0, 1));
}

/* A term as a test of a row; null if it names no column. */
function testOf(term) {
  const parts = term.match(/^(.+?)(<=|>=|!=|=|<|>)(.+)$/);
  if (!parts) return row => row.textContent.toLowerCase().includes(term.toLowerCase());
  const [column, holds, wanted] = [columnOf(parts[1]), HOLDS[parts[2]], parts[3].toLowerCase()];
  if (column < 0) return null;
  return row => {
    const text = row.cells[column].textContent.toLowerCase();
    const pair = [number(text), number(wanted)];
    return pair.some(isNaN) ? holds(text, wanted) : holds(...pair);
  };
}

function show() {
  const terms = filter.value.split(/\s+/).filter(Boolean);
  const tests = terms.map(testOf), unknown = terms.filter((_, k) => !tests[k]);
  rows.forEach(row => { row.hidden = !tests.every(test => !test || test(row)); });
  const left = rows.filter(row => !row.hidden).length;
  filter.form.querySelector("output").textContent = unknown.length
    ? `no column for ${unknown.join(", ")}` : `${left} of ${rows.length} cells`;
}

if (filter) {
  filter.form.hidden = false;
  filter.form.addEventListener("submit", event => event.preventDefault());
  filter.addEventListener("input", show);
  show();
}

const label = cell => rows.find(row => row.cells[0].textContent === cell)?.dataset.label;
const tip = document.getElementById("tip");
const REACH = 14; // CSS pixels from the pointer to a point

function nearest(points, image, event) {
  const box = image.getBoundingClientRect();
  const far = ([x, y]) =>
    Math.hypot(box.left + x * box.width - event.clientX, box.top + y * box.height - event.clientY);
  const best = points.reduce((a, b) => far(b) < far(a) ? b : a);
  return far(best) <= REACH ? best : null;
}

function tell(point, image) {
  image.style.cursor = point ? "pointer" : "";
  tip.hidden = !point;
  if (!point) return;
  const [x, y, cell, words] = point, box = image.getBoundingClientRect();
  tip.replaceChildren(...[words, label(cell), `cell ${cell}`].filter(Boolean).map(line => {
    const p = document.createElement("p");
    p.textContent = line;
    return p;
  }));
  const left = scrollX + box.left + x * box.width + 12, room = innerWidth + scrollX;
  tip.style.left = `${Math.max(4, Math.min(left, room - tip.offsetWidth - 4))}px`;
  tip.style.top = `${scrollY + box.top + y * box.height + 12}px`;
}

function choose(cell) {
  if (!filter) return;
  filter.value = cell;
  show();
  document.getElementById("cells").scrollIntoView();
}

document.querySelectorAll("figure[data-points]").forEach(figure => {
  const image = figure.querySelector("img"), points = JSON.parse(figure.dataset.points);
  let told = null;
  image.addEventListener("pointermove", event => {
    if (event.pointerType === "touch") return;
    tell(told = nearest(points, image, event), image);
  });
  image.addEventListener("pointerleave", event => {
    if (event.pointerType !== "touch") tell(told = null, image);
  });
  image.addEventListener("click", event => {
    const point = nearest(points, image, event);
    // a finger cannot hover: its first tap tells, its second chooses
    if (point && point === told) { tell(told = null, image); choose(point[2]); }
    else tell(told = point, image);
  });
});
