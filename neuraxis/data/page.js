"use strict";
(() => {
  const box = document.querySelector("dialog");
  const pictures = [...document.querySelectorAll("figure button img:not(.over)")];
  const toggle = (picture) => picture.closest("figure").querySelector(".toggle");
  let at = 0;
  const show = (n) => {
    at = (n + pictures.length) % pictures.length;
    const over = pictures[at].parentElement.querySelector(".over");
    const above = box.querySelector(".over");
    box.querySelector("img").src = pictures[at].src;
    box.querySelector("img").alt = pictures[at].alt;
    if (over) above.src = over.src; else above.removeAttribute("src");
    box.classList.toggle("tall", pictures[at].naturalHeight > 0.75 * pictures[at].naturalWidth);
    box.classList.toggle("flicker", pictures[at].closest("figure").classList.contains("flicker"));
    above.hidden = !over || !toggle(pictures[at]).checked;
    box.querySelector("p").textContent = pictures[at].alt + "  (\u2190 \u2192 other figures" + (over ? ", O outlines" : "") + ", Esc closes)";
    if (!box.open) box.showModal();
  };
  if (box) {
    pictures.forEach((picture, n) => picture.parentElement.addEventListener("click", () => show(n)));
    box.addEventListener("click", () => box.close());
    box.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step) { event.preventDefault(); show(at + step); }
      if (event.key === "o" || event.key === "O") {
        const one = toggle(pictures[at]);
        if (one) { one.checked = !one.checked; show(at); }
      }
    });
  }
  const menu = document.querySelector("nav details");
  if (menu && window.matchMedia("(max-width: 56rem)").matches) menu.open = false;
  document.querySelectorAll("table.sortable").forEach((table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const sort = () => {
        const up = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((one) => one.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
        const rows = [...table.tBodies[0].rows].sort((a, b) => {
          const [x, y] = [value(a), value(b)], [p, q] = [parseFloat(x), parseFloat(y)];
          if ((x === "") !== (y === "")) return x === "" ? 1 : -1;
          const order = head.classList.contains("n") ? p - q : x.localeCompare(y, undefined, { numeric: true });
          return up ? order : -order;
        });
        table.tBodies[0].append(...rows);
      };
      head.tabIndex = 0;
      head.addEventListener("click", sort);
      head.addEventListener("keydown", (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(); } });
    });
  });
})();
