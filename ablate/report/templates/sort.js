"use strict";
// Headers become buttons: ascending, descending, as written. data-sort holds a cell's number; what has none stays last.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const written = Array.from(body.rows);
  if (written.length < 2) continue;
  Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: "none" }[header.getAttribute("aria-sort")] || "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      if (next !== "none") header.setAttribute("aria-sort", next);
      body.append(...(next === "none" ? written : sorted(written, column, next === "ascending" ? 1 : -1)));
    });
  });
}
function sorted(rows, column, sign) {
  const gap = (cell) => cell.dataset.sort === "";
  return rows.slice().sort((one, other) => {
    const a = one.cells[column], b = other.cells[column];
    if (gap(a) || gap(b)) return gap(a) - gap(b);
    const difference = Number(a.dataset.sort) - Number(b.dataset.sort);
    if (!Number.isNaN(difference)) return sign * difference;
    return sign * a.dataset.sort.localeCompare(b.dataset.sort, "en", { numeric: true });
  });
}
// On paper nothing can be unfolded.
const folded = () => document.querySelectorAll("details:not([open])");
let opened = [];
addEventListener("beforeprint", () => { opened = Array.from(folded()); opened.forEach((d) => { d.open = true; }); });
addEventListener("afterprint", () => opened.forEach((d) => { d.open = false; }));
