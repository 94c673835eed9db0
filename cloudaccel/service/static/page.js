// The page works without this. With it, the answer follows the form as you type, and the command can be copied.
"use strict";
(() => {
  const form = document.getElementById("ask");
  if (!form) return;
  let timer, running;

  function address() {
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value.trim()) query.append(name, value);
    const text = query.toString();
    return text ? "/?" + text : "/";
  }

  async function ask() {
    const where = address();
    if (running) running.abort();
    const mine = (running = new AbortController());
    const old = document.getElementById("answer");
    old.setAttribute("aria-busy", "true");
    try {
      const answer = await fetch(where, { signal: mine.signal, headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("answer");
      if (!fresh || mine !== running) return;
      const focused = document.activeElement;
      const again = focused && old.contains(focused) ? [focused.name, focused.value, focused.selectionStart] : null;
      const open = [...old.querySelectorAll("details")].map((d) => d.open);
      old.replaceWith(fresh);
      fresh.querySelectorAll("details").forEach((d, i) => (d.open = open[i] || d.open));
      document.title = page.title;
      history.replaceState(null, "", where);
      ready();
      if (again) {
        const same = [...fresh.querySelectorAll("input,select")].filter((x) => x.name === again[0]);
        const next = same.find((x) => x.type !== "checkbox" || x.value === again[1]);
        if (next) {
          next.focus();
          if (next.type !== "checkbox" && again[2] != null && next.setSelectionRange) {
            next.value = again[1];
            next.setSelectionRange(again[2], again[2]);
          }
        }
      }
    } catch (error) {
      if (error.name !== "AbortError") old.removeAttribute("aria-busy");
    }
  }

  function soon(event) {
    if (event.target.form !== form) return;
    clearTimeout(timer);
    timer = setTimeout(ask, event.type === "change" ? 0 : 350);
  }

  function ready() {
    for (const button of document.querySelectorAll("[data-copy]")) {
      if (!navigator.clipboard) continue;
      button.hidden = false;
      button.onclick = async () => {
        await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
        button.textContent = "Copied";
      };
    }
  }

  document.addEventListener("input", (event) => { if (event.target.type !== "checkbox") soon(event); });
  document.addEventListener("change", (event) => { if (event.target.type === "checkbox" || event.target.tagName === "SELECT") soon(event); });
  form.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(timer); ask(); });
  ready();
})();
