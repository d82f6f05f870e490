/* What scrolls sideways must be reached from the keyboard too. */
const scrolls = () => {
  for (const box of document.querySelectorAll(".table-wrapper, .math-wrapper, pre, div.math")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
};
addEventListener("DOMContentLoaded", scrolls);
addEventListener("load", scrolls);
addEventListener("resize", scrolls);
