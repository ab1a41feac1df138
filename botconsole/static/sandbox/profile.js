// The bot's profile: who it is, how it is reached, what it may not; and the way to a conversation with it.
import { $, ask, avatar, make } from "./tools.js";
import { word } from "./words.js";

let state = null;
let talk = () => {};

export function show(next) {
  state = next;
}

export function start(toConversation) {
  talk = toConversation;
  $("brand").addEventListener("click", showBot);
}

export async function showBot() {
  if (!state) return;
  const { app, transports } = state;
  const way = (what) => word(transports[what] === "webhook" ? "webhook" : "long_connection");
  const lines = [
    ["app_id", app.app_id], ["open_id", app.open_id],
    [word("events"), transports.events === transports.callbacks ? way("events") : `${way("events")} / ${way("callbacks")}`],
    [word("webhook"), state.webhook || word("no webhook")],
    [word("encryption"), word(state.encrypted ? "on" : "off_now")],
    [word("connections"), String(state.connections.length)],
    [word("groups_in"), String(state.chats.filter((chat) => chat.mode !== "p2p" && chat.bot_in && chat.status === "normal").length)],
    [word("scopes_missing"), state.missing_scopes.join(", ") || word("none")],
  ];
  $("bot-head").replaceChildren(avatar(app.name, true), make("h2", {}, app.name), make("span", { class: "badge" }, word("bot")));
  $("bot-lines").replaceChildren(...lines.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  if (await ask($("bot-dialog"))) talk();
}
