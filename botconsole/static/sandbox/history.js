// The messages of the open chat: the newest first, older ones while one scrolls up, changes as they come.
import { markOwn, messageLine, noteLine } from "./messages.js";
import { $, attempt, call, dayOf, make, merged } from "./tools.js";
import { current, word } from "./words.js";

const PAGE = 60;
const NEAR = 600; // pixels from the top at which older messages are fetched, from the end at which one follows
const TOGETHER = 300_000; // milliseconds within which messages of one person stand under one name
let chat = "";
let revision = 0;
let newest = 0;
let oldest = "";
let hasMore = false;
let fetching = false;
let unread = 0;
let shownLanguage = "";
let endSought = 0; // the frame that looks for the end again
let look = { acts: {}, who: () => "", chatOf: () => null };

let nearby = null;

export const openChat = () => chat;

// Cards far from the screen leave the document and come back as they were, with what is typed in them: browsers look
// through all fields of a page (for autofill) whenever one is added. The line keeps the height it was last seen with.
const away = new Map();

function comeAndGo(entries) {
  for (const { target, isIntersecting } of entries) {
    const card = away.get(target);
    if (isIntersecting && card) {
      (target.querySelector(".body > .quote") || target.querySelector(".body > .who")).after(...card);
      away.delete(target);
    } else if (!isIntersecting && !card && target.isConnected) {
      const parts = [...target.querySelectorAll(".body > .card")];
      if (parts.some((part) => part.contains(document.activeElement))) continue;
      away.set(target, parts);
      for (const part of parts) part.remove();
    }
  }
}

// Messages and what is told between them, in the order in which it happened.
const inOrder = (items, notes) =>
  [...items.map((item) => [item.create_time, lineOf(item)]), ...notes.map((note) => [note.create_time, noteLine(note)])]
    .sort((one, other) => one[0] - other[0]).map(([, line]) => line);

// The line of a message, watched if it has a card.
function lineOf(item) {
  const line = messageLine(item, look.acts);
  if (item.msg_type === "interactive" && !item.deleted) nearby.observe(line);
  return line;
}

// `looks`: acts for the messages, who() acts, chatOf(id) is the chat's state.
export function start(looks) {
  look = looks;
  nearby = new IntersectionObserver(comeAndGo, { root: $("messages"), rootMargin: "2000px 0px" });
  $("messages").addEventListener("scroll", () => {
    if ($("messages").scrollTop < NEAR) older();
    if (atEnd()) tellUnread(0);
  }, { passive: true });
  for (const hand of ["wheel", "touchstart", "pointerdown", "keydown"]) {
    $("messages").addEventListener(hand, stay, { passive: true });
  }
  $("to-end").addEventListener("click", () => toEnd());
  document.addEventListener("visibilitychange", read);
}

export function open(id) {
  chat = id;
  clear();
  return Promise.resolve().then(refresh); // once it is known who acts there
}

function clear() {
  revision = newest = 0;
  oldest = "";
  hasMore = false;
  tellUnread(0);
  nearby.disconnect();
  away.clear();
  $("messages").replaceChildren();
}

const locale = () => (current() === "zh" ? "zh_cn" : "en_us");

export const refresh = merged(async () => {
  if (!chat) return;
  if (shownLanguage !== current()) {
    shownLanguage = current();
    clear();
  }
  const asked = chat;
  const language = locale();
  const isFirst = !revision;
  const viewer = look.who();
  const told = await call("GET", `/groups/${asked}/messages?since=${revision}&limit=${isFirst ? PAGE : 500}&locale=${language}&open_id=${encodeURIComponent(viewer)}`);
  if (asked !== chat || language !== locale() || viewer !== look.who()) return refresh();
  if (!isFirst && told.has_more) {
    clear(); // too much changed at once to be told apart
    return refresh();
  }
  revision = told.revision;
  if (isFirst) {
    hasMore = told.has_more;
    oldest = told.items[0]?.message_id || "";
  }
  draw(told.items, told.notes, isFirst);
});

// Another person acts: cards that everyone has an own version of are drawn anew.
export function seenBy() {
  markOwn(look.who(), look.chatOf(chat));
  if (!$("messages").querySelector("[data-differs]")) return;
  clear();
  refresh();
}

// What the bot wrote into a conversation is read once it is on the screen; the app is told, as by Feishu.
function read() {
  const seen = !document.hidden && $("messages").offsetParent !== null;
  if (seen && look.chatOf(chat)?.mode === "p2p" && $("messages").querySelector(".by-bot")) call("POST", `/groups/${chat}/read`).catch(() => {});
}

// Older ones go above what is on the screen, which stays where it is.
async function older() {
  if (!hasMore || fetching) return;
  fetching = true;
  const asked = chat;
  const told = await attempt(() => call("GET", `/groups/${asked}/messages?before=${oldest}&limit=${PAGE}&locale=${locale()}&open_id=${encodeURIComponent(look.who())}`));
  fetching = false;
  if (!told || asked !== chat || !told.items.length) return;
  hasMore = told.has_more;
  oldest = told.items[0].message_id;
  const list = $("messages");
  const fromEnd = list.scrollHeight - list.scrollTop;
  list.prepend(...inOrder(told.items, told.notes));
  separate(list);
  list.scrollTop = list.scrollHeight - fromEnd;
  markOwn(look.who(), look.chatOf(chat));
  if (list.scrollTop < NEAR) requestAnimationFrame(older);
}

const atEnd = () => $("messages").scrollHeight - $("messages").scrollTop - $("messages").clientHeight < 120;

// Heights are estimates until a message was on the screen, so the end is looked for again after each frame.
export function toEnd(frames = 5) {
  stay();
  $("messages").scrollTop = $("messages").scrollHeight;
  if (!frames) return tellUnread(0);
  $("messages").setAttribute("aria-busy", "true");
  endSought = requestAnimationFrame(() => toEnd(frames - 1));
}

// Who takes hold of the list is not pulled to its end any more.
function stay() {
  cancelAnimationFrame(endSought);
  $("messages").removeAttribute("aria-busy");
}

function tellUnread(count) {
  unread = count;
  $("to-end").hidden = !count;
  $("to-end").textContent = word("new_messages", { n: count });
}

function draw(items, notes, isFirst) {
  const list = $("messages");
  const follows = isFirst || atEnd();
  list.querySelector(".empty")?.remove();
  const fresh = [];
  for (const item of items) {
    const known = document.getElementById(item.message_id);
    if (known) {
      nearby.unobserve(known);
      away.delete(known);
      exchange(known, lineOf(item));
    }
    else if (item.number > newest) fresh.push(item); // else an old one that is not loaded
  }
  list.append(...inOrder(fresh, notes));
  newest = Math.max(newest, ...fresh.map((item) => item.number));
  separate(list);
  if (!list.querySelector("[id^=om_]")) list.append(make("li", { class: "empty" }, word(look.chatOf(chat)?.mode === "p2p" ? "empty_p2p" : "empty_chat")));
  markOwn(look.who(), look.chatOf(chat));
  if (items.some((item) => item.sender.type === "app")) read();
  if (follows && (isFirst || items.length || notes.length)) toEnd();
  else if (fresh.length) tellUnread(unread + fresh.length);
}

// A message that changed: who was at one of its buttons with the keyboard is at the same one, or the nearest, again.
function exchange(known, line) {
  const controls = (place) => [...place.querySelectorAll("button, input, select, textarea, a")];
  const at = controls(known).indexOf(document.activeElement);
  known.replaceWith(line);
  const now = controls(line);
  if (at >= 0 && now.length) now[Math.min(at, now.length - 1)].focus({ preventScroll: true });
}

// A line with the date above the first message of each day; who goes on talking is not named again.
function separate(list) {
  for (const line of list.querySelectorAll(".day")) line.remove();
  let day = "";
  let before = null;
  for (const line of [...list.children]) {
    const its = line.dataset.at ? dayOf(Number(line.dataset.at)) : day;
    if (its !== day) line.before(make("li", { class: "day" }, its));
    line.classList.toggle("goes-on", its === day && goesOn(before, line));
    day = its;
    before = line;
  }
}

const goesOn = (before, line) => Boolean(before?.dataset.sender) && before.dataset.sender === line.dataset.sender && line.dataset.at - before.dataset.at < TOGETHER;
