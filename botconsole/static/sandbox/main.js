// Starts the page: tabs, language, and the stream that says what changed.
import * as chats from "./chats.js";
import * as platform from "./platform.js";
import { $, call, merged } from "./tools.js";
import { choose, current, speak, word } from "./words.js";

let state = null;

const refreshState = merged(async () => {
  state = await call("GET", "/state");
  draw();
});

function draw() {
  $("app-name").textContent = state.app.name;
  chats.show(state);
  platform.show(state);
}

function turnTo(tab) {
  document.body.dataset.tab = tab;
  for (const button of document.querySelectorAll(".tabs button")) button.setAttribute("aria-selected", String(button.dataset.tab === tab));
  history.replaceState(null, "", tab === "platform" ? "#platform" : location.pathname);
  platform.refresh();
}

function listen() {
  const stream = new EventSource("/_sandbox/stream");
  stream.onopen = () => {
    $("live").classList.remove("off");
    $("live").title = word("live");
    refreshState();
    chats.refresh();
    platform.refresh();
  };
  stream.onerror = () => {
    $("live").classList.add("off");
    $("live").title = word("offline");
  };
  stream.onmessage = (event) => {
    const topics = JSON.parse(event.data);
    if (topics.includes("reset")) location.reload();
    if (topics.includes(chats.openChat())) chats.refresh();
    if (topics.length) refreshState();
    if (topics.includes("platform")) platform.refresh();
  };
  addEventListener("pagehide", () => stream.close());
}

$("language").addEventListener("click", () => {
  choose(current() === "zh" ? "en" : "zh");
  speak();
  draw();
  chats.refresh();
  platform.refresh();
});
for (const button of document.querySelectorAll(".tabs button")) button.addEventListener("click", () => turnTo(button.dataset.tab));
speak();
chats.start();
platform.start();
turnTo(location.hash === "#platform" ? "platform" : "chats");
listen();
