// Headings of tables become buttons that sort; without this script the tables stand as they are, and all that is folded opens.
(function () {
  "use strict";
  function key(row, column) {
    var cell = row.cells[column];
    if (!cell) { return null; }
    var value = cell.dataset.sort;
    if (value === undefined) { value = cell.textContent.trim(); }
    var p = value.match(/\d+:\d+ p <?([\d.e+-]+)/); // of counts, what stands at their end
    if (p) { return Number(p[1]); }
    if (value === "" || value === "–") { return null; }
    var number = Number(value.replace(/−/g, "-").replace(/^\+/, "").replace(/ %$/, ""));
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
  // Print unfolds what a style sheet cannot, and folds it again; a link into what is folded opens it.
  var opened = [];
  window.addEventListener("beforeprint", function () {
    opened = Array.from(document.querySelectorAll("details:not([open]):not(.raw)"));
    opened.forEach(function (fold) { fold.open = true; });
  });
  window.addEventListener("afterprint", function () {
    opened.forEach(function (fold) { fold.open = false; });
  });
  function reveal() {
    var place = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    var choice = place && place.closest(".choice");
    if (choice) { document.getElementById("forest-" + choice.className.slice(-1)).checked = true; }
    for (var at = place; at; at = at.parentElement) {
      if (at.tagName === "DETAILS") { at.open = true; }
    }
    if (place) { place.scrollIntoView(); }
  }
  window.addEventListener("hashchange", reveal);
  reveal();
}());
