// Copy buttons: <button data-copy="id of the element whose text is copied" hidden>. Without JavaScript they stay hidden.
"use strict";

async function copyText(source) {
  if (navigator.clipboard && window.isSecureContext) {
    await navigator.clipboard.writeText(source.textContent.trim());
    return;
  }
  // On plain http the clipboard API is closed: select the text and let the browser copy it.
  const folded = source.closest("details:not([open])");
  if (folded) folded.open = true;
  const range = document.createRange();
  range.selectNodeContents(source);
  const selection = window.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
  document.execCommand("copy");
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  const words = button.textContent;
  const source = document.getElementById(button.dataset.copy);
  button.hidden = !source;
  button.addEventListener("click", async (press) => {
    press.preventDefault();
    await copyText(source);
    button.textContent = button.dataset.done;
    setTimeout(() => { button.textContent = words; }, 1500);
  });
}

// On a phone the menu is one row that moves: the page one is on is in sight.
const here = document.querySelector("#menu [aria-current]");
if (here) {
  const row = here.closest("ul");
  row.scrollLeft = here.offsetLeft - row.offsetLeft - (row.clientWidth - here.offsetWidth) / 2;
}
