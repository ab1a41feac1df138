// The chat tab: the list at the left, the head of the open chat, and what is done with the whole group.
import * as composer from "./composer.js";
import * as history from "./history.js";
import * as members from "./members.js";
import { drawTops } from "./messages.js";
import { wire } from "./press.js";
import * as profile from "./profile.js";
import { $, ask, attempt, avatar, call, confirm, listTime, make, redraw } from "./tools.js";
import { word } from "./words.js";

let state = null;
const seen = new Map(); // chat_id -> when its last message was that somebody saw here
const acts = { who: composer.who, reply: composer.reply, edit: composer.edit };

const chatOf = (id) => state?.chats.find((chat) => chat.chat_id === id);
const opened = () => chatOf(history.openChat());

export const openChat = history.openChat;
export const refresh = history.refresh;
export const showing = () => ({ app: state?.app || {}, chat: opened() });

export function show(next) {
  const isFirst = !state;
  state = next;
  if (isFirst) for (const chat of state.chats) seen.set(chat.chat_id, chat.last_at);
  profile.show(state);
  if (!opened()) choose(newestFirst()[0]?.chat_id || "", false);
  else draw();
}

function draw() {
  drawList();
  drawHead();
  members.show(state, opened());
}

function choose(id, look = true) {
  if (look) document.body.dataset.view = "talk";
  if (id === history.openChat()) return history.toEnd();
  composer.turnTo(id);
  history.open(id);
  draw();
  if (look && matchMedia("(hover: hover)").matches && !$("composer").hidden) $("text").focus();
}

const movedAt = (chat) => Math.max(chat.last_at, chat.noted_at);
const newestFirst = () => [...state.chats].sort((one, other) => movedAt(other) - movedAt(one) || one.number - other.number);

function drawList() {
  const now = opened();
  if (now) seen.set(now.chat_id, now.last_at);
  redraw($("chat-list"), ...newestFirst().map((chat) => {
    const isNew = chat.last_at > (seen.get(chat.chat_id) || 0);
    return make("li", {},
      make("button", { type: "button", class: isNew ? "chat is-new" : "chat", "aria-current": String(chat === now), "data-key": chat.chat_id, onclick: () => choose(chat.chat_id) },
        avatar(chat.name || "群"),
        make("span", { class: "about" },
          make("span", { class: "name" }, chat.name || chat.chat_id),
          make("span", { class: "last" }, ...lastOf(chat))),
        make("span", { class: "when" }, chat.last_at ? make("time", {}, listTime(chat.last_at)) : "", isNew ? make("span", { class: "dot", "aria-label": word("unread") }) : "")));
  }));
}

function lastOf(chat) {
  if (chat.status !== "normal") return [word("dissolved")];
  const draft = chat.chat_id === history.openChat() ? "" : composer.draft(chat.chat_id);
  if (draft) return [make("b", { class: "draft" }, word("draft")), draft];
  return [chat.last ? `${chat.mode === "p2p" ? "" : `${chat.last_by}: `}${chat.last}` : peopleOf(chat)];
}

const peopleOf = (chat) => (chat.mode === "p2p" ? word("p2p") : word("people_count", { n: chat.member_count }));

function drawHead() {
  const chat = opened();
  document.body.dataset.mode = chat ? chat.mode : "";
  $("chat-name").textContent = chat ? chat.name || chat.chat_id : "";
  const notes = chat ? [peopleOf(chat)] : [];
  if (chat && !chat.bot_in) notes.push(word("bot_out"));
  if (chat && chat.status !== "normal") notes.push(word("dissolved"));
  $("chat-note").textContent = notes.join(" · ");
  $("show-members").textContent = chat ? `${word("members")} ${chat.member_count}` : "";
  $("composer").hidden = !chat || chat.status !== "normal";
  drawTops(chat);
  composer.draw();
  $("at-bot").textContent = state.app.name ? `@${state.app.name}` : word("at_bot");
}

// Up and down go through the list; who opens a chat may write at once (a phone's keyboard would hide the chat).
function walk(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const all = [...$("chat-list").querySelectorAll(".chat")];
  const at = all.indexOf(document.activeElement);
  if (!step || at < 0) return;
  event.preventDefault();
  all[Math.min(all.length - 1, Math.max(0, at + step))].focus();
}

async function newGroup() {
  $("group-name").value = "";
  if (!(await ask($("group-dialog"))) || !$("group-name").value.trim()) return;
  const made = await attempt(() => call("POST", "/groups", { name: $("group-name").value.trim(), bot: $("group-bot").checked }));
  if (made) await turnTo(made.chat_id);
}

// The chat with the bot of whoever acts now.
async function ownConversation() {
  const who = composer.who();
  const made = await attempt(() => call("POST", "/conversations", who ? { open_id: who } : {}));
  if (made) await turnTo(made.chat_id);
}

async function newConversation() {
  const person = $("conversation-person");
  person.replaceChildren(make("option", { value: "" }, word("someone_new")), ...state.people.map((one) => make("option", { value: one.open_id }, one.name)));
  $("conversation-name").value = state.fresh_name;
  $("conversation-new").hidden = false;
  if (!(await ask($("conversation-dialog")))) return;
  const body = person.value ? { open_id: person.value } : { name: $("conversation-name").value.trim() };
  const made = await attempt(() => call("POST", "/conversations", body));
  if (made) await turnTo(made.chat_id);
}

async function turnTo(id) {
  state = await call("GET", "/state");
  choose(id);
}

// What a person does with the whole group: rename, leave, bring the bot in or take it out, dissolve.
async function rename() {
  const name = $("rename-name");
  name.value = opened().name;
  if ((await ask($("rename-dialog"))) && name.value.trim()) await attempt(() => call("PATCH", `/groups/${openChat()}`, { name: name.value.trim(), open_id: composer.who() }));
}

const leave = () => attempt(() => call("POST", `/groups/${openChat()}/leave`, { open_id: composer.who() }));
const moveBot = () => attempt(() => call(opened().bot_in ? "DELETE" : "POST", `/groups/${openChat()}/bot`));

async function dissolve() {
  if (await confirm(word("dissolve"), word("dissolve_sure"))) await attempt(() => call("DELETE", `/groups/${openChat()}`, { open_id: composer.who() }));
}

export function start() {
  history.start({ acts, who: composer.who, chatOf });
  members.start();
  profile.start(ownConversation);
  composer.start(openChat, showing);
  wire($("messages"), composer.who);
  const turn = (view) => () => { document.body.dataset.view = view; };
  const does = {
    "new-group": newGroup, "new-conversation": newConversation, rename, leave, "move-bot": moveBot, dissolve,
    back: turn("list"), "show-members": turn("members"), "back-to-talk": turn("talk"),
  };
  $("chat-list").addEventListener("keydown", walk);
  for (const [id, doing] of Object.entries(does)) $(id).addEventListener("click", doing);
  $("conversation-person").addEventListener("change", (event) => { $("conversation-new").hidden = Boolean(event.target.value); });
  $("act-as").addEventListener("change", history.seenBy);
}
