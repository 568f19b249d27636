// What the theme makes in the page: tables that scroll are reached by keyboard, and each place of
// the button that copies code has a name of its own, since it is a landmark.
function settle() {
  for (const wrap of document.querySelectorAll(".md-typeset__scrollwrap")) {
    if (wrap.scrollWidth > wrap.clientWidth) wrap.tabIndex = 0;
    else wrap.removeAttribute("tabindex");
  }
  document.querySelectorAll("nav.md-code__nav").forEach((nav, i) => (nav.ariaLabel = `Code ${i + 1}`));
}
new MutationObserver(settle).observe(document.body, { childList: true, subtree: true });
addEventListener("resize", settle);
settle();
