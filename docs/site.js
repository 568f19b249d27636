// What the theme makes in the page: tables that scroll are reached by keyboard, and the many
// buttons that copy code are groups, since landmarks of one name cannot be told apart.
function settle() {
  for (const wrap of document.querySelectorAll(".md-typeset__scrollwrap")) {
    if (wrap.scrollWidth > wrap.clientWidth) wrap.tabIndex = 0;
    else wrap.removeAttribute("tabindex");
  }
  for (const nav of document.querySelectorAll("nav.md-code__nav")) nav.setAttribute("role", "group");
}
new MutationObserver(settle).observe(document.body, { childList: true, subtree: true });
addEventListener("resize", settle);
settle();
