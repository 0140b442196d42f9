"use strict";
// The table of results: sorting, searching, and marks that go to the server at once.
(() => {
  const results = JSON.parse(document.getElementById("results").textContent);
  const body = document.querySelector("tbody");
  const rows = [...body.rows];
  const search = document.getElementById("search");
  const count = document.getElementById("count");
  let current = null;

  const shownRows = () => [...body.rows].filter((row) => !row.hidden);
  const decisionOf = (row) => row.querySelector(".decide[aria-pressed=true]")?.dataset.decision ?? "";
  const textOf = (row) => `${row.textContent} ${row.querySelector(".comment").value}`.toLowerCase();

  function select(row) {
    current?.classList.remove("current");
    current = row ?? null;
    if (current) {
      current.classList.add("current");
      current.scrollIntoView({ block: "nearest" });
    }
  }

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const flagged = document.getElementById("flagged").checked;
    const open = document.getElementById("open").checked;
    for (const row of rows) {
      row.hidden =
        (flagged && !row.classList.contains("to-look-at")) ||
        (open && decisionOf(row) !== "") ||
        !words.every((word) => textOf(row).includes(word));
    }
    count.textContent = `${shownRows().length} of ${rows.length} shown`;
    if (!current || current.hidden) {
      select(shownRows()[0]);
    }
  }

  function sort(head) {
    const at = head.cellIndex;
    const order = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    document.querySelectorAll("thead th[aria-sort]").forEach((each) => each.setAttribute("aria-sort", "none"));
    head.setAttribute("aria-sort", order === 1 ? "ascending" : "descending");
    const keyOf = (row) => row.cells[at].dataset.key;
    const compared = (one, other) => keyOf(one).localeCompare(keyOf(other), "en", { numeric: true });
    body.append(...rows.sort((one, other) => order * compared(one, other)));
  }

  async function mark(row, decision) {
    const comment = row.querySelector(".comment").value;
    const answer = await fetch("/review", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ result: results[Number(row.dataset.at)].name, decision, comment }),
    }).catch(() => null);
    if (!answer?.ok) {
      count.textContent = `Not saved: ${answer ? await answer.text() : "swinunet view is not running any more"}`;
      return;
    }
    for (const button of row.querySelectorAll(".decide")) {
      button.setAttribute("aria-pressed", String(button.dataset.decision === decision));
    }
    row.cells[row.cells.length - 1].dataset.key = decision;
    count.textContent = `Saved: ${decision || "no mark"}`;
  }

  function step(by) {
    const shown = shownRows();
    const at = shown.indexOf(current) + by;
    select(shown[Math.min(Math.max(at, 0), shown.length - 1)]);
  }

  const decide = (decision) => current && mark(current, decision);
  const KEYS = {
    j: () => step(1),
    k: () => step(-1),
    a: () => decide("accepted"),
    r: () => decide("rejected"),
    u: () => decide(""),
    c: () => current?.querySelector(".comment").focus(),
    "/": () => search.focus(),
    Enter: () => current?.querySelector("a.name")?.click(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input:not([type=checkbox])")) {
      if (event.key === "Escape" || event.key === "Enter") {
        event.target.blur();
      }
      return;
    }
    const onControl = event.key === "Enter" && event.target.matches("button, a");
    if (event.ctrlKey || event.altKey || event.metaKey || onControl || !(event.key in KEYS)) {
      return;
    }
    event.preventDefault();
    KEYS[event.key]();
  });

  for (const row of rows) {
    row.addEventListener("click", () => select(row));
    row.querySelector(".comment").addEventListener("change", () => mark(row, decisionOf(row)));
    for (const button of row.querySelectorAll(".decide")) {
      button.addEventListener("click", () => mark(row, button.dataset.decision === decisionOf(row) ? "" : button.dataset.decision));
    }
  }
  document.querySelectorAll("thead th[aria-sort]").forEach((head) => head.addEventListener("click", () => sort(head)));
  for (const id of ["search", "flagged", "open"]) {
    document.getElementById(id).addEventListener("input", filter);
  }
  filter();
  document.body.dataset.ready = "yes";
})();
