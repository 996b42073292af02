// The divider and the probabilities under the pointer, for every .dpn-view on the page.
(() => {
  const percent = (value) => (value >= 254 ? "100" : (value / 2.55).toFixed(1)) + " %";

  function told(view) {
    if (!view.dpn || view.dpn.text !== view.dataset.told) {
      const all = JSON.parse(view.dataset.told);
      all.likeliest = all.likeliest.map((text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)));
      view.dpn = { text: view.dataset.told, all };
    }
    return view.dpn.all;
  }

  function split(view, value) {
    view.style.setProperty("--split", value + "%");
  }

  function point(view, event) {
    const box = view.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width, y = (event.clientY - box.top) / box.height;
    const tip = view.querySelector(".dpn-tip");
    if (x < 0 || y < 0 || x >= 1 || y >= 1) { tip.hidden = true; return; }
    const { names, size: [high, wide], titles, likeliest } = told(view);
    const cell = Math.floor(y * high) * wide + Math.floor(x * wide), many = likeliest[0].length / (high * wide);
    const side = 100 * x < parseFloat(view.querySelector(".dpn-split").value) ? 0 : 1;
    tip.replaceChildren();
    const title = document.createElement("em");
    title.textContent = titles[side];
    tip.append(title);
    for (let k = 0; k < many / 2; k++) {
      const share = likeliest[side][cell * many + many / 2 + k];
      if (share < 2 && k > 0) break;
      const row = document.createElement("div"), bar = document.createElement("u"), name = document.createElement("span");
      bar.style.width = share / 2.55 + "%";
      name.textContent = names[likeliest[side][cell * many + k]];
      row.append(bar, name, percent(share));
      tip.append(row);
    }
    tip.hidden = false;
    tip.style.left = Math.min(100 * x, 100 - 100 * tip.offsetWidth / box.width) + "%";
    tip.style.top = y > 0.5 ? "auto" : `calc(${100 * y}% + 18px)`;
    tip.style.bottom = y > 0.5 ? `calc(${100 - 100 * y}% + 18px)` : "auto";
  }

  // A new picture comes with a new element: it takes over the divider of the last one.
  let last = 50;
  document.addEventListener("input", (event) => {
    if (!event.target.classList.contains("dpn-split")) return;
    last = event.target.value;
    split(event.target.closest(".dpn-view"), last);
  }, true);
  new MutationObserver(() => document.querySelectorAll(".dpn-split:not(.dpn-met)").forEach((input) => {
    input.classList.add("dpn-met");
    input.value = last;
    split(input.closest(".dpn-view"), last);
  })).observe(document, { childList: true, subtree: true });
  for (const kind of ["pointermove", "pointerdown"]) document.addEventListener(kind, (event) => {
    const view = event.target.closest && event.target.closest(".dpn-view");
    document.querySelectorAll(".dpn-tip").forEach((tip) => { if (tip.parentElement !== view) tip.hidden = true; });
    if (view) point(view, event);
  });
})();
