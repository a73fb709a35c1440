// A click on a heading sorts its table: downwards first where it holds numbers.
document.querySelectorAll("table.sortable thead button").forEach((button) => {
  button.addEventListener("click", () => {
    const heading = button.closest("th");
    const table = heading.closest("table");
    const column = [...heading.parentNode.children].indexOf(heading);
    const numeric = heading.classList.contains("number");
    const before = heading.getAttribute("aria-sort");
    const down = before ? before === "ascending" : numeric;
    const sign = down ? -1 : 1;
    const key = (row) => row.children[column].dataset.key;
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => sign * (numeric ? key(a) - key(b) : key(a).localeCompare(key(b))));
    heading.parentNode.querySelectorAll("th").forEach((each) => each.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    table.tBodies[0].append(...rows);
  });
});
// What is wider than the screen says so.
const watcher = new ResizeObserver((entries) => {
  entries.forEach(({ target }) => {
    const wide = target.closest(".wide");
    wide.parentNode.classList.toggle("cut", wide.scrollWidth > wide.clientWidth + 3);
  });
});
document.querySelectorAll(".wide, .wide table").forEach((each) => watcher.observe(each));
