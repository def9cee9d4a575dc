// Makes the tables of class "sortable" sortable; without it they are plain tables, best first.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  const key = (row, i) => row.cells[i].dataset.value;
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const numeric = head.classList.contains("n");
      const turn = { ascending: "descending", descending: "ascending" }[head.ariaSort] || (numeric ? "descending" : "ascending");
      const sign = turn === "ascending" ? 1 : -1;
      const notes = new Map([...body.querySelectorAll("tr.note")].map((note) => [note.previousElementSibling, note]));
      const rows = [...body.rows].filter((row) => !row.classList.contains("note")).sort((a, b) => {
        if (!numeric) return sign * a.cells[i].textContent.localeCompare(b.cells[i].textContent, undefined, { numeric: true });
        const x = key(a, i), y = key(b, i);
        if (x === undefined || y === undefined) return (x === undefined) - (y === undefined);
        return sign * (x - y);
      });
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.ariaSort = turn;
      body.append(...rows.flatMap((row) => (notes.has(row) ? [row, notes.get(row)] : [row])));
    });
  });
}
