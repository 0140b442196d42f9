"use strict";
// A click on the head of a column sorts its table: by the first number of each cell, else by its text.
document.querySelectorAll("table").forEach((table) => {
  const numberOf = (text) => Number.parseFloat((text.match(/-?\d+(\.\d+)?/) ?? ["NaN"])[0]);
  table.querySelectorAll("thead th").forEach((head, at) => {
    if (!head.textContent.trim()) {
      return;
    }
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      table.querySelectorAll("thead th").forEach((each) => each.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", order === 1 ? "ascending" : "descending");
      const rows = [...table.tBodies[0].rows].map((row) => ({ row, text: row.cells[at]?.textContent ?? "" }));
      const numeric = rows.some(({ text }) => !Number.isNaN(numberOf(text)) && /^[-+\d]/.test(text));
      rows.sort((one, other) => {
        if (!numeric) {
          return order * one.text.localeCompare(other.text);
        }
        const [a, b] = [numberOf(one.text), numberOf(other.text)];
        return Number.isNaN(a) || Number.isNaN(b) ? Number.isNaN(a) - Number.isNaN(b) : order * (a - b);
      });
      table.tBodies[0].append(...rows.map(({ row }) => row));
    });
  });
});
