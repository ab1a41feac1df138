// The editor of welcome templates: asks the server for the card's picture while one types. Saves nothing.
"use strict";

(() => {
  const editor = document.getElementById("editor");
  const card = document.getElementById("id_card");
  if (!editor || !card) return; // read only: the server has drawn the picture already

  const DELAY_MS = 200;
  const field = (id) => document.getElementById(id);
  const picture = field("picture");
  const problems = field("problems");
  const size = field("card-size");
  const situation = field("situation");
  const trigger = field("id_trigger");
  const chats = field("id_chat_ids");
  let timer = 0;
  let asked = 0;

  function showProblems(found) {
    const list = document.createElement(found.length ? "ul" : "p");
    if (!found.length) {
      list.className = "fine";
      list.textContent = problems.dataset.ok;
    }
    for (const problem of found) {
      const item = document.createElement("li");
      if (problem.path) {
        const path = document.createElement("code");
        path.textContent = problem.path;
        item.append(path, " ");
      }
      item.append(problem.message);
      list.append(item);
    }
    problems.replaceChildren(list);
  }

  async function refresh() {
    const mine = ++asked;
    const form = new FormData();
    form.set("card", card.value);
    form.set("trigger", trigger.value);
    form.set("bot", field("id_bot").value);
    form.set("situation", situation.value);
    const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
    try {
      const answer = await fetch(editor.dataset.preview, {
        method: "POST", body: form, headers: {"X-CSRFToken": token}, redirect: "error",
      });
      if (!answer.ok) throw new Error(answer.status);
      const shown = await answer.json();
      if (mine !== asked) return; // a later answer is on its way
      if (shown.html) picture.innerHTML = shown.html; // escaped by the server; the CSP runs nothing inline
      picture.classList.toggle("stale", !shown.html);
      size.textContent = shown.size;
      showProblems(shown.problems);
    } catch {
      if (mine === asked) showProblems([{path: "", message: problems.dataset.away}]);
    }
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(refresh, DELAY_MS);
  }

  function insertAtCursor(text) {
    card.focus();
    // execCommand keeps the browser's undo; setRangeText is what remains where it is gone.
    if (!document.execCommand("insertText", false, text)) {
      card.setRangeText(text, card.selectionStart, card.selectionEnd, "end");
    }
    later();
  }

  function showVariables() {
    for (const group of editor.querySelectorAll("[data-trigger]")) {
      group.hidden = group.dataset.trigger !== trigger.value;
    }
  }

  function format(press) {
    try {
      const text = JSON.stringify(JSON.parse(card.value), null, 2);
      if (text === card.value) return;
      card.focus();
      card.select();
      insertAtCursor(text);
    } catch {
      showProblems([{path: "", message: press.currentTarget.dataset.error}]);
      later();
    }
  }

  function addChat(chatId) {
    const ids = chats.value.split(/[\s,，]+/).filter(Boolean);
    if (!ids.includes(chatId)) chats.value = [...ids, chatId].join("\n");
    chats.focus();
  }

  card.addEventListener("input", later);
  for (const chooser of [trigger, situation, field("id_bot")]) chooser.addEventListener("change", refresh);
  trigger.addEventListener("change", showVariables);
  for (const button of editor.querySelectorAll("[data-insert]")) {
    button.addEventListener("click", () => insertAtCursor(button.dataset.insert));
  }
  for (const button of document.querySelectorAll("[data-chat]")) {
    button.addEventListener("click", () => addChat(button.dataset.chat));
  }
  field("format-card").addEventListener("click", format);
  field("format-card").hidden = false;
  situation.closest("p").hidden = false;
  showVariables();
})();
