// Tables: click a column's name to sort by it, click again to reverse the order.
function sortable(table) {
  table.querySelectorAll("th").forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.value;
      const numbers = head.dataset.kind === "number";
      const compare = (a, b) => (numbers ? key(a) - key(b) : key(a).localeCompare(key(b)));
      const rows = [...table.tBodies[0].rows].sort((a, b) => (descending ? compare(b, a) : compare(a, b)));
      // Keep missing values at the end.
      const missing = (row) => key(row) === "";
      table.tBodies[0].append(...rows.filter((row) => !missing(row)), ...rows.filter(missing));
    });
  });
}
