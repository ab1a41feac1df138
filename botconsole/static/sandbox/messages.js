// Draws one message with its marks, reactions and what one can do with it; and the strip above the chat.
import { showBot } from "./profile.js";
import { $, attempt, avatar, call, clockTime, make } from "./tools.js";
import { word } from "./words.js";

// Letters and signs that every font has; a type without one is shown by its name.
const EMOJI = { OK: "OK", JIAYI: "+1", DONE: "✓", HEART: "♥", Pin: "Pin" };

const shown = (type) => EMOJI[type] || type;

// `acts`: who() answers the open_id that acts, reply(item) and edit(item, text) fill the composer.
export function messageLine(item, acts) {
  const isBot = item.sender.type === "app";
  const told = marks(item);
  if (item.deleted) return make("li", { id: item.message_id, class: "gone", "data-at": item.create_time }, `${item.sender.name} ${word("recalled")}`);
  const content = make("div", { class: item.msg_type === "interactive" ? "card" : "bubble" });
  content.innerHTML = item.html; // drawn and escaped by the server
  return make("li", { id: item.message_id, class: isBot ? "message by-bot" : "message", "data-message": item.message_id, "data-sender": item.sender.id, "data-kind": item.msg_type, "data-at": item.create_time, ...(item.differs ? { "data-differs": "" } : {}) },
    isBot ? make("button", { type: "button", class: "face", onclick: showBot, "aria-label": word("profile") }, avatar(item.sender.name, true)) : avatar(item.sender.name),
    make("div", { class: "body" },
      make("div", { class: told.length ? "who marked" : "who" },
        make("span", { class: "name" }, item.sender.name),
        isBot ? make("span", { class: "badge" }, word("bot")) : "",
        make("time", { title: new Date(item.create_time).toLocaleString(document.documentElement.lang) }, clockTime(item.create_time)),
        ...told),
      item.parent ? make("button", { type: "button", class: "quote", onclick: () => goTo(item.parent_id) }, `${item.parent.name}: ${item.parent.text}`) : "",
      content,
      reactions(item, acts)),
    tools(item, acts, content));
}

// Who came or went, or renamed the group: a line between the messages.
export function noteLine(note) {
  const more = note.count - note.who.length;
  const who = note.who.join(word("comma")) + (more > 0 ? word("and_more", { n: more }) : "");
  const itself = note.by === note.name && { bot_joined: "came", bot_removed: "left" }[note.kind]; // nobody else is known
  return make("li", { class: "note", "data-at": note.create_time }, word(`note_${itself || note.kind}`, { ...note, who: who || note.name }));
}

function marks(item) {
  const told = [];
  if (item.updated) told.push(make("span", { class: "edited" }, word("edited")));
  if (item.only_for) told.push(make("span", { class: "badge plain" }, word("only_for", { name: item.only_for })));
  if (item.thread_id) told.push(make("span", { class: "badge plain" }, word("thread")));
  if (item.pinned) told.push(make("span", { class: "badge" }, word("pinned")));
  if (item.buzzed.length) {
    const names = item.buzzed.map((one) => (one.times > 1 ? `${one.name} ×${one.times}` : one.name)).join(", ");
    told.push(make("span", { class: "badge buzz", title: names }, word("buzzed", { n: item.buzzed.length })));
  }
  return told;
}

function react(item, acts, type) {
  const mine = item.reactions.some((one) => one.emoji_type === type && one.people.some((person) => person.open_id === acts.who()));
  return attempt(() => call(mine ? "DELETE" : "POST", `/messages/${item.message_id}/reactions`, { open_id: acts.who(), emoji_type: type }));
}

function reactions(item, acts) {
  if (!item.reactions.length) return "";
  return make("div", { class: "reactions" },
    ...item.reactions.map((one) => make("button", { type: "button", class: "reaction", onclick: () => react(item, acts, one.emoji_type) },
      make("span", { title: one.emoji_type }, shown(one.emoji_type)), make("span", {}, one.people.map((person) => person.name).join(", ")))));
}

function tools(item, acts, content) {
  const button = (name, onclick, more = "") => make("button", { type: "button", class: `quiet ${more}`, onclick }, word(name));
  const emojis = make("span", { class: "emojis", hidden: true },
    ...Object.keys(EMOJI).map((type) => make("button", { type: "button", class: "quiet", title: type, "aria-label": type, onclick: () => { emojis.hidden = true; react(item, acts, type); } }, EMOJI[type])));
  const recall = () => attempt(() => call("DELETE", `/messages/${item.message_id}`, { open_id: acts.who() }));
  return make("div", { class: "acts" },
    emojis,
    button("react", () => { emojis.hidden = !emojis.hidden; }),
    button("reply", () => acts.reply(item)),
    item.msg_type === "text" && item.sender.type === "user" ? button("edit", () => acts.edit(item, content.textContent), "own-only") : "",
    button("recall", recall, "recall-only"));
}

// Which messages the acting person may edit and recall; the owner and managers recall anyone's.
export function markOwn(openId, chat) {
  const manages = Boolean(chat) && (chat.owner_id === openId || chat.managers.includes(openId));
  for (const line of document.querySelectorAll("#messages .message")) {
    const own = line.dataset.sender === openId;
    line.classList.toggle("own", own);
    line.classList.toggle("may-recall", own || manages);
  }
}

export function goTo(messageId) {
  const line = document.getElementById(messageId);
  if (!line) return;
  line.scrollIntoView({ block: "center" });
  line.classList.add("found");
  setTimeout(() => line.classList.remove("found"), 1500);
}

export function drawTops(chat) {
  const line = (label, text, messageId) => make("button", { type: "button", class: "top-line", onclick: () => goTo(messageId) }, make("b", {}, label), make("span", {}, text));
  const lines = [];
  if (chat?.tabs.length) lines.push(make("nav", { class: "chat-tabs" }, ...chat.tabs.map((tab) => make("a", { href: tab.url, target: "_blank", rel: "noopener", title: tab.url }, tab.name))));
  if (chat?.notice) lines.push(line(word("notice"), chat.notice.text, chat.notice.message_id));
  if (chat?.pins.length) lines.push(make("div", { class: "pins" }, ...chat.pins.map((pin) => line("Pin", pin.text, pin.message_id))));
  $("tops").replaceChildren(...lines);
}
