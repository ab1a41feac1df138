// The chat tab: the list at the left, the messages, the members.
import * as composer from "./composer.js";
import { drawTops, markOwn, messageLine } from "./messages.js";
import { wire } from "./press.js";
import { $, ask, attempt, avatar, call, clockTime, confirm, make, merged } from "./tools.js";
import { current, word } from "./words.js";

let state = { chats: [], people: [], app: {}, fresh_name: "" };
let open = "";
let revision = 0;
let shownLanguage = "";
const acts = { who: composer.who, reply: composer.reply, edit: composer.edit };

const chatOf = (id) => state.chats.find((chat) => chat.chat_id === id);

export function show(next) {
  state = next;
  if (!chatOf(open)) {
    const first = state.chats[0];
    choose(first ? first.chat_id : "", false);
  }
  drawList();
  drawHead();
  drawMembers();
}

export const openChat = () => open;

function choose(id, look = true) {
  if (look) document.body.dataset.view = "talk";
  if (id === open) return toEnd();
  open = id;
  revision = 0;
  composer.clear();
  $("messages").replaceChildren();
  drawList();
  drawHead();
  drawMembers();
  refresh();
}

function drawList() {
  const chats = [...state.chats].sort((one, other) => other.last_at - one.last_at || one.number - other.number);
  $("chat-list").replaceChildren(
    ...chats.map((chat) =>
      make("li", {},
        make("button", { type: "button", class: "chat", "aria-current": String(chat.chat_id === open), onclick: () => choose(chat.chat_id) },
          avatar(chat.name || "群"),
          make("span", { class: "about" },
            make("span", { class: "name" }, chat.name || chat.chat_id),
            make("span", { class: "last" }, chat.last || (chat.mode === "p2p" ? word("p2p") : word("people_count", { n: chat.members.length })))),
          chat.last_at ? make("time", {}, clockTime(chat.last_at)) : "")),
    ),
  );
}

function drawHead() {
  const chat = chatOf(open);
  document.body.dataset.mode = chat ? chat.mode : "";
  $("chat-name").textContent = chat ? chat.name || chat.chat_id : "";
  const notes = [];
  if (chat) notes.push(chat.mode === "p2p" ? word("p2p") : word("people_count", { n: chat.members.length }));
  if (chat && !chat.bot_in) notes.push(word("bot_out"));
  if (chat && chat.status !== "normal") notes.push(word("dissolved"));
  $("chat-note").textContent = notes.join(" · ");
  $("show-members").textContent = chat ? `${word("members")} ${chat.members.length}` : "";
  $("composer").hidden = !chat || chat.status !== "normal";
  drawTops(chat);
  composer.draw();
  $("at-bot").textContent = state.app.name ? `@${state.app.name}` : word("at_bot");
}

function drawMembers() {
  const chat = chatOf(open);
  const members = chat ? chat.members : [];
  $("member-count").textContent = members.length || "";
  const isOpen = Boolean(chat) && chat.mode !== "p2p" && chat.status === "normal";
  $("add-member").hidden = $("group-tools").hidden = !isOpen;
  $("leave").hidden = !members.length;
  $("move-bot").textContent = word(chat && chat.bot_in ? "bot_leaves" : "bot_joins");
  const name = $("member-name");
  if (!name.value || name.value === name.dataset.fresh) name.value = name.dataset.fresh = state.fresh_name;
  const bot = chat && chat.bot_in ? [make("li", {}, avatar(state.app.name, true), make("span", { class: "name" }, state.app.name), make("span", { class: "badge" }, word("bot")))] : [];
  $("member-list").replaceChildren(...bot, ...members.map((person) => memberLine(chat, person)));
  if (chat && !members.length) $("member-list").append(make("li", { class: "hint" }, word("nobody")));
  const act = $("act-as");
  const before = act.value;
  act.replaceChildren(...members.map((person) => make("option", { value: person.open_id }, person.name)));
  if (members.some((person) => person.open_id === before)) act.value = before;
  markOwn(composer.who(), chat);
}

function memberLine(chat, person) {
  const leave = () => attempt(() => call("DELETE", `/groups/${chat.chat_id}/members/${person.open_id}`));
  return make("li", { title: person.open_id },
    avatar(person.name),
    make("span", { class: "name" }, person.name),
    person.open_id === chat.owner_id ? make("span", { class: "badge plain" }, word("owner")) : "",
    chat.managers.includes(person.open_id) ? make("span", { class: "badge plain" }, word("manager")) : "",
    chat.mode === "p2p" ? "" : make("button", { type: "button", class: "quiet remove", onclick: leave, "aria-label": `${word("remove")} ${person.name}` }, word("remove")));
}

export const refresh = merged(async () => {
  if (!open) return;
  if (shownLanguage !== current()) {
    shownLanguage = current();
    revision = 0;
    $("messages").replaceChildren();
  }
  const asked = open;
  const locale = current() === "zh" ? "zh_cn" : "en_us";
  const told = await call("GET", `/groups/${asked}/messages?since=${revision}&limit=${revision ? 500 : 200}&locale=${locale}`);
  if (asked !== open || locale !== (current() === "zh" ? "zh_cn" : "en_us")) return refresh();
  const isFirst = !revision;
  revision = told.revision;
  drawMessages(told.items, isFirst);
});

// Heights are estimates until a message was on the screen, so the end is looked for again after each frame.
function toEnd(frames = 5) {
  $("messages").scrollTop = $("messages").scrollHeight;
  if (frames) requestAnimationFrame(() => toEnd(frames - 1));
}

function drawMessages(items, isFirst) {
  const list = $("messages");
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 120;
  list.querySelector(".empty")?.remove();
  for (const item of items) {
    const drawn = messageLine(item, acts);
    const old = document.getElementById(item.message_id);
    if (old) old.replaceWith(drawn);
    else list.append(drawn);
  }
  if (!list.children.length) {
    list.append(make("li", { class: "empty" }, word(chatOf(open)?.mode === "p2p" ? "empty_p2p" : "empty_chat")));
  }
  markOwn(composer.who(), chatOf(open));
  if (isFirst || (items.length && atEnd)) toEnd();
}

async function newGroup() {
  $("group-name").value = "";
  if (!(await ask($("group-dialog"))) || !$("group-name").value.trim()) return;
  const made = await attempt(() => call("POST", "/groups", { name: $("group-name").value.trim(), bot: $("group-bot").checked }));
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

async function addMember(event) {
  event.preventDefault();
  const name = $("member-name");
  const made = await attempt(() => call("POST", `/groups/${open}/members`, { name: name.value.trim() }));
  if (made) name.value = "";
}

// What a person does with the whole group: rename, leave, bring the bot in or take it out, dissolve.
async function rename() {
  const name = $("rename-name");
  name.value = chatOf(open).name;
  if ((await ask($("rename-dialog"))) && name.value.trim()) await attempt(() => call("PATCH", `/groups/${open}`, { name: name.value.trim(), open_id: composer.who() }));
}

const leave = () => attempt(() => call("POST", `/groups/${open}/leave`, { open_id: composer.who() }));
const moveBot = () => attempt(() => call(chatOf(open).bot_in ? "DELETE" : "POST", `/groups/${open}/bot`));

async function dissolve() {
  if (await confirm(word("dissolve"), word("dissolve_sure"))) await attempt(() => call("DELETE", `/groups/${open}`, { open_id: composer.who() }));
}

export function start() {
  wire($("messages"), composer.who);
  composer.start(openChat);
  $("new-group").addEventListener("click", newGroup);
  $("new-conversation").addEventListener("click", newConversation);
  $("conversation-person").addEventListener("change", (event) => { $("conversation-new").hidden = Boolean(event.target.value); });
  $("add-member").addEventListener("submit", addMember);
  $("act-as").addEventListener("change", () => markOwn(composer.who(), chatOf(open)));
  $("rename").addEventListener("click", rename);
  $("leave").addEventListener("click", leave);
  $("move-bot").addEventListener("click", moveBot);
  $("dissolve").addEventListener("click", dissolve);
  $("back").addEventListener("click", () => { document.body.dataset.view = "list"; });
  $("show-members").addEventListener("click", () => { document.body.dataset.view = "members"; });
  $("back-to-talk").addEventListener("click", () => { document.body.dataset.view = "talk"; });
}
