(() => {
  const list = document.getElementById("list");
  const tools = document.getElementById("tools");
  if (!list || !tools) return;
  const pairs = [...list.querySelectorAll(".pair")];
  const text = document.getElementById("by-text");
  const sort = document.getElementById("sort");
  const told = document.getElementById("shown");
  const words = new Map();
  const wordsOf = (pair) => {
    if (!words.has(pair)) words.set(pair, pair.textContent.toLowerCase());
    return words.get(pair);
  };
  const count = () => {
    const shown = pairs.filter((pair) => getComputedStyle(pair).display !== "none").length;
    told.textContent = shown === pairs.length ? `all ${shown} shown` : `${shown} of ${pairs.length} shown`;
  };
  const narrow = () => {
    const wanted = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const pair of pairs) {
      pair.classList.toggle("miss", !wanted.every((word) => wordsOf(pair).includes(word)));
    }
    count();
  };
  const name = (pair) => pair.querySelector(".claim").textContent;
  const orders = {
    p: (a, b) => a.dataset.p - b.dataset.p,
    name: (a, b) => name(a).localeCompare(name(b)),
  };
  const arrange = () => {
    const order = orders[sort.value];
    list.append(...(order ? [...pairs].sort(order) : pairs));
  };
  const reveal = () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const pair = target && target.closest(".pair");
    if (!pair) return;
    pair.classList.remove("miss");
    pair.open = true;
    count();
    target.scrollIntoView();
  };
  for (const one of tools.querySelectorAll("[hidden]")) one.hidden = false;
  tools.addEventListener("change", count);
  text.addEventListener("input", narrow);
  sort.addEventListener("change", arrange);
  addEventListener("hashchange", reveal);
  narrow();
  arrange();
  reveal();
})();
