// Sorts a table by the column whose name is clicked; without script the table is as it came.
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    header.addEventListener("click", () => {
      const before = header.getAttribute("aria-sort");
      const down = before ? before === "ascending" : column > 0;
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => {
        const cell = row.cells[column];
        if (column === 0) return cell.textContent;
        return cell.dataset.value === undefined ? -Infinity : Number(cell.dataset.value);
      };
      const rows = [...table.tBodies[0].rows].sort((a, b) => {
        const [x, y] = [key(a), key(b)];
        const order = typeof x === "string" ? x.localeCompare(y) : x < y ? -1 : x > y ? 1 : 0;
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}

// Shows the chart that is chosen; without script all of them are there.
for (const picker of document.querySelectorAll(".picker")) {
  const select = picker.querySelector("select");
  const figures = [...picker.querySelectorAll("figure")];
  const pick = () => figures.forEach((figure, index) => { figure.hidden = index !== select.selectedIndex; });
  select.selectedIndex = 0;
  select.addEventListener("change", pick);
  picker.querySelector("label").hidden = false;
  pick();
}

// Enlarges the image that is clicked; the arrow keys go through all of them.
const viewer = document.querySelector(".viewer");
const pictures = [...document.querySelectorAll(".zoom")];
let shown = 0;
const enlarge = (index) => {
  shown = (index + pictures.length) % pictures.length;
  const copy = pictures[shown].querySelector("svg").cloneNode(true);
  copy.querySelectorAll("[id]").forEach((element) => element.removeAttribute("id"));
  viewer.querySelector(".stage").replaceChildren(copy);
  viewer.querySelector(".caption").textContent = pictures[shown].dataset.caption;
};
pictures.forEach((picture, index) => {
  picture.addEventListener("click", () => {
    enlarge(index);
    viewer.showModal();
  });
});
viewer.addEventListener("click", (event) => {
  const step = event.target.dataset.step;
  if (event.target === viewer || step === "0") viewer.close();
  else if (step) enlarge(shown + Number(step));
});
viewer.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (step) enlarge(shown + step);
});
document.documentElement.classList.add("script");
