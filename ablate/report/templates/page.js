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
// Light or dark: the machine's choice until the button is pressed.
const root = document.documentElement, theme = document.querySelector(".theme");
const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const named = () => { theme.textContent = dark() ? "Light" : "Dark"; };
theme.hidden = false;
theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; named(); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", named);
named();
// The contents: folded on a narrow screen, and the section that is read is marked.
const contents = document.querySelector("nav details"), narrow = matchMedia("(max-width: 69.99rem)");
const fold = () => { contents.open = !narrow.matches; };
narrow.addEventListener("change", fold);
fold();
contents.addEventListener("click", (event) => { if (event.target.tagName === "A") fold(); });
if ("IntersectionObserver" in window) {
  const links = new Map(Array.from(contents.querySelectorAll("a"), (link) => [decodeURIComponent(link.hash.slice(1)), link]));
  const mark = (name) => links.forEach((link, key) => link.toggleAttribute("aria-current", key === name));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) mark(entry.target.id);
  }, { rootMargin: "0px 0px -70% 0px" });
  document.querySelectorAll("h1, h2").forEach((heading) => seen.observe(heading));
}
// Arms are hidden and shown by their buttons, or by their entries in a legend.
const arms = document.querySelector(".arms");
const toggle = (name) => {
  const button = Array.from(arms.querySelectorAll("button")).find((one) => one.dataset.of === name);
  if (!button) return;
  const shown = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(shown));
  document.querySelectorAll(".chart [data-arm]").forEach((part) => {
    if (part.dataset.arm === name) part.classList.toggle("off", !shown);
  });
};
if (arms) {
  arms.hidden = false;
  arms.addEventListener("click", (event) => { const button = event.target.closest("button"); if (button) toggle(button.dataset.of); });
  document.addEventListener("click", (event) => { const entry = event.target.closest(".legend"); if (entry) toggle(entry.dataset.arm); });
}
// What a mark says, beside the pointer, or after a tap.
const tip = document.createElement("div");
tip.id = "tip"; tip.hidden = true;
document.body.append(tip);
document.querySelectorAll(".chart title").forEach((title) => { title.parentNode.dataset.tip = title.textContent; title.remove(); });
document.addEventListener("pointerover", (event) => {
  const mark = event.target.closest && event.target.closest("[data-tip]");
  tip.hidden = !mark;
  if (!mark) return;
  tip.textContent = mark.dataset.tip;
  tip.style.left = `${Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${Math.max(event.clientY - tip.offsetHeight - 10, 4)}px`;
});
