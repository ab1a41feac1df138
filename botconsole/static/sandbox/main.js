// Starts the page: tabs, language, and the stream that says what changed.
import * as chats from "./chats.js";
import * as platform from "./platform.js";
import * as scenarios from "./scenarios.js";
import { $, call, merged } from "./tools.js";
import { choose, current, speak, word } from "./words.js";

let state = null;

const refreshState = merged(async () => {
  state = await call("GET", "/state");
  draw();
}, 100);

function draw() {
  $("app-name").textContent = state.app.name;
  chats.show(state);
  platform.show(state);
  scenarios.show(state);
}

// Gauges go down by themselves, without anything that would be told.
setInterval(() => { if (state?.limits.length && document.body.dataset.tab === "platform" && !document.hidden) refreshState(); }, 1000);

function turnTo(tab) {
  document.body.dataset.tab = tab;
  for (const button of document.querySelectorAll(".tabs button")) button.setAttribute("aria-selected", String(button.dataset.tab === tab));
  history.replaceState(null, "", tab === "platform" ? "#platform" : location.pathname);
  platform.refresh();
  if (tab === "platform") scenarios.refresh();
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
  if (document.body.dataset.tab === "platform") scenarios.refresh();
});
for (const button of document.querySelectorAll(".tabs button")) button.addEventListener("click", () => turnTo(button.dataset.tab));
speak();
chats.start();
platform.start();
scenarios.start();
turnTo(location.hash === "#platform" ? "platform" : "chats");
listen();
