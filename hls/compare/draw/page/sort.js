"use strict";

// Sortable tables: every heading holds a button; the state is told by aria-sort. Cells carry data-value where their text
// is not what they sort by; cells without a value stay last in both directions.
function keyOf(row, index, numeric) {
  const cell = row.cells[index];
  const text = cell.dataset.value ?? cell.textContent.trim();
  if (text === "") return null;
  return numeric ? Number(text) : text.toLowerCase();
}

function sortTable(table, heading, index) {
  const numeric = heading.classList.contains("number");
  const down = heading.getAttribute("aria-sort") === "ascending";
  for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
  heading.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [keyOf(row, index, numeric), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null);
    const order = a < b ? -1 : a > b ? 1 : 0;
    return down ? -order : order;
  });
  body.append(...rows.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table.sortable")) {
  table.querySelectorAll("th[aria-sort]").forEach((heading, index) => {
    heading.querySelector("button").addEventListener("click", () => sortTable(table, heading, index));
  });
}

for (const box of document.querySelectorAll("#groups input")) {
  box.addEventListener("change", () => {
    for (const cell of document.querySelectorAll(`#table [data-group="${box.value}"]`)) cell.hidden = !box.checked;
  });
}

document.getElementById("learned")?.addEventListener("change", (event) => {
  for (const row of document.querySelectorAll("#heat tr.fixed")) row.hidden = event.target.checked;
});
