"use strict";
// Sorting: a head's button, ascending first; what is missing stays last, and what opens under a row goes with it.
document.querySelectorAll("table.sortable").forEach(table => {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach(h => h.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = row => row.cells[column].dataset.v ?? row.cells[column].textContent.trim();
    const missing = row => row.cells[column].textContent.trim() === "";
    const rows = [...body.rows].filter(row => !row.classList.contains("more")).map(row => [row, row.nextElementSibling]);
    rows.sort(([a], [b]) => {
      if (missing(a) || missing(b)) return missing(a) - missing(b);
      const x = value(a), y = value(b), difference = x - y;
      return (Number.isNaN(difference) ? x.localeCompare(y) : difference) * (down ? -1 : 1);
    });
    rows.forEach(([row, next]) => next?.classList.contains("more") ? body.append(row, next) : body.append(row));
  }));
});

// Filters: task, kind, part of a method's name.
const form = document.querySelector(".filters");
if (form) {
  const rows = [...document.querySelectorAll(".rows tbody tr:not(.more)")];
  const apply = () => {
    const { task, kind, text } = form.elements;
    let shown = 0;
    rows.forEach(row => {
      const keep = (!task.value || row.dataset.task === task.value) && (!kind.value || row.dataset.kind === kind.value)
        && row.dataset.method.includes(text.value.trim());
      row.hidden = !keep;
      shown += keep;
      const more = row.nextElementSibling;
      more.hidden = !keep || row.querySelector(".open")?.getAttribute("aria-expanded") !== "true";
    });
    form.querySelector("output").textContent = `${shown} of ${rows.length} rows`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", event => event.preventDefault());
  apply();
}

// A row opens to its repetitions, curves and command; its curves are drawn when it does.
document.querySelectorAll(".rows button.open").forEach(button => button.addEventListener("click", () => {
  const more = button.closest("tr").nextElementSibling, open = button.getAttribute("aria-expanded") !== "true";
  button.setAttribute("aria-expanded", open);
  more.hidden = !open;
  const cell = more.cells[0];
  if (open && cell.dataset.curves && !cell.querySelector("svg")) cell.prepend(drawn(JSON.parse(cell.dataset.curves)));
}));

function drawn({ label, lines }) {
  const width = 480, height = 150, left = 46, bottom = 22, all = lines.flat();
  const low = Math.min(...all), high = Math.max(...all), most = Math.max(...lines.map(l => l.length));
  const x = i => left + (width - left - 8) * (most > 1 ? i / (most - 1) : .5);
  const y = v => 8 + (height - bottom - 8) * (1 - (v - low) / (high - low || 1));
  const make = (name, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, class: "curve", role: "img",
    "aria-label": `validation, ${label}, from ${low} to ${high} over ${most} epochs, ${lines.length} repetitions` });
  [low, high].forEach(v => svg.append(make("line", { x1: left, x2: width - 8, y1: y(v), y2: y(v) }),
    make("text", { x: left - 5, y: y(v) + 3, "text-anchor": "end" }, v)));
  svg.append(make("text", { x: left, y: height - 5 }, `validation, ${label}, epochs 1 to ${most}`));
  lines.forEach(l => svg.append(l.length > 1 ? make("polyline", { points: l.map((v, i) => `${x(i).toFixed(1)},${y(v).toFixed(1)}`).join(" ") })
    : make("circle", { cx: x(0), cy: y(l[0]), r: 3, fill: "currentColor" })));
  return svg;
}
