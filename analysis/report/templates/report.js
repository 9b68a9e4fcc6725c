// Headings of tables become buttons that sort; without this script the tables stand as they are.
(function () {
  "use strict";
  function key(row, column) {
    var cell = row.cells[column];
    if (!cell) { return null; }
    var value = cell.dataset.sort;
    if (value === undefined) { value = cell.textContent.trim(); }
    if (value === "" || value === "–") { return null; }
    var number = Number(value);
    return Number.isNaN(number) ? value : number;
  }
  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") { return a - b; }
    if (typeof a === "number") { return -1; }
    if (typeof b === "number") { return 1; }
    return a.localeCompare(b);
  }
  function sort(table, heading, column) {
    var down = heading.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("thead th").forEach(function (other) { other.removeAttribute("aria-sort"); });
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    var body = table.tBodies[0];
    var rows = Array.from(body.rows).map(function (row) { return { row: row, key: key(row, column) }; });
    rows.sort(function (a, b) {
      if (a.key === null || b.key === null) { return (a.key === null) - (b.key === null); } // empty cells stay last
      return down ? compare(b.key, a.key) : compare(a.key, b.key);
    });
    rows.forEach(function (entry) {
      entry.row.classList.remove("first"); // the rule between two sparsities
      body.appendChild(entry.row);
    });
  }
  document.querySelectorAll("table.sortable").forEach(function (table) {
    Array.from(table.tHead.rows[0].cells).forEach(function (heading, column) {
      var button = document.createElement("button");
      button.type = "button";
      button.appendChild(heading.firstChild);
      heading.insertBefore(button, heading.firstChild);
      button.addEventListener("click", function () { sort(table, heading, column); });
    });
  });
}());
