"use strict";
// A head's button sorts its table, ascending first; what is missing stays last, and headings of families go.
document.querySelectorAll("table.sortable").forEach(table => {
  const heads = [...table.querySelectorAll("th[data-column]")], body = table.tBodies[0];
  heads.forEach(head => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending", column = Number(head.dataset.column);
    heads.forEach(h => h.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.querySelectorAll(".family").forEach(row => row.remove());
    const text = row => row.cells[column].textContent.trim(), value = row => row.cells[column].dataset.v ?? text(row);
    [...body.rows].sort((a, b) => {
      if (!text(a) || !text(b)) return !text(a) - !text(b);
      const x = value(a), y = value(b), difference = x - y;
      return (Number.isNaN(difference) ? x.localeCompare(y) : difference) * (down ? -1 : 1);
    }).forEach(row => body.append(row));
  }));
});
