// The event log: new rows come in while one looks, and an export says how far it is. Changes nothing.
"use strict";

(() => {
  const ASK_EVERY_MS = 2000;
  const MOST_ROWS = 200;

  // --- The live tail -------------------------------------------------------------------------------------
  const live = document.getElementById("live");
  const body = document.querySelector("#result_list tbody");

  function rowsOf(html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    return [...template.content.querySelectorAll("tr")];
  }

  // A row goes where its key belongs: events may become visible out of order.
  function place(row) {
    const key = Number(row.dataset.key);
    if (body.querySelector(`tr[data-key="${key}"]`)) return;
    const below = [...body.rows].find((other) => Number(other.dataset.key) < key) || null;
    row.classList.add("is-new");
    body.insertBefore(row, below);
    document.getElementById("no-events")?.remove();
  }

  async function ask() {
    const query = new URLSearchParams(location.search);
    query.set("after", live.dataset.after);
    const answer = await fetch(`${live.dataset.url}?${query}`, {redirect: "manual"});
    if (answer.type === "opaqueredirect" || answer.status === 403) {
      live.disabled = true;
      live.textContent = live.dataset.out;
      return;
    }
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const news = await answer.json();
    rowsOf(news.rows).forEach(place);
    live.dataset.after = news.newest;
    while (body.rows.length > MOST_ROWS) body.rows[body.rows.length - 1].remove();
    if (live.getAttribute("aria-pressed") === "true") live.textContent = live.dataset.on;
  }

  async function turn() {
    const wanted = live.getAttribute("aria-pressed") === "true" && !document.hidden;
    try {
      if (wanted) await ask();
    } catch {
      live.textContent = live.dataset.lost;
    }
    if (!live.disabled) setTimeout(turn, ASK_EVERY_MS);
  }

  if (live && body) {
    live.hidden = false;
    live.addEventListener("click", () => {
      const on = live.getAttribute("aria-pressed") !== "true";
      live.setAttribute("aria-pressed", String(on));
      live.textContent = on ? live.dataset.on : live.dataset.off;
    });
    setTimeout(turn, ASK_EVERY_MS);
  }

  // --- Exports: one line is one row ----------------------------------------------------------------------
  const exports = document.querySelector(".log-exports");
  const LINE_END = 10;

  function say(words, rows, all) {
    exports.querySelector("[role=status]").textContent =
      words.replace("{rows}", rows.toLocaleString()).replace("{all}", all.toLocaleString());
  }

  function count(chunk) {
    let lines = 0;
    for (let at = chunk.indexOf(LINE_END); at >= 0; at = chunk.indexOf(LINE_END, at + 1)) lines += 1;
    return lines;
  }

  function save(parts, type, name) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(parts, {type}));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  async function download(link) {
    const bar = exports.querySelector("progress");
    const cancel = exports.querySelector("button");
    const stop = new AbortController();
    cancel.onclick = () => stop.abort();
    bar.removeAttribute("value");
    bar.hidden = cancel.hidden = false;
    let rows = link.dataset.export === "csv" ? -1 : 0; // the first line of a CSV names the columns
    try {
      const answer = await fetch(link.href, {redirect: "error", signal: stop.signal});
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const all = Number(answer.headers.get("X-Rows-Estimated"));
      const name = /filename="(.+)"/.exec(answer.headers.get("Content-Disposition"))[1];
      const parts = [];
      const reader = answer.body.getReader();
      for (let part = await reader.read(); !part.done; part = await reader.read()) {
        parts.push(part.value);
        rows += count(part.value);
        bar.max = Math.max(all, rows, 1);
        bar.value = Math.max(rows, 0);
        say(exports.dataset.running, Math.max(rows, 0), Math.max(all, rows));
      }
      save(parts, answer.headers.get("Content-Type"), name);
      say(exports.dataset.done, rows, rows);
    } catch {
      say(exports.dataset.failed, Math.max(rows, 0), 0);
    }
    bar.hidden = cancel.hidden = true;
  }

  exports?.addEventListener("click", (press) => {
    const link = press.target.closest("a[data-export]");
    if (!link || press.ctrlKey || press.metaKey || press.shiftKey) return;
    press.preventDefault();
    if (exports.querySelector("progress").hidden) download(link);
  });
})();
