// "@" in the composer offers the bot, everyone and the members whose names go on like that.
import { $, attempt, avatar, call, make, merged } from "./tools.js";
import { word } from "./words.js";

const MOST = 8;
let look = () => ({ app: {}, chat: null });
let chosen = 0;

// What stands between the last "@" and the cursor, or null.
function typed() {
  const field = $("text");
  const before = field.value.slice(0, field.selectionStart);
  const at = before.lastIndexOf("@");
  const name = before.slice(at + 1);
  return at < 0 || /\s/.test(name) || name.length > 40 ? null : { at, name };
}

const offer = merged(async () => {
  const now = typed();
  const { app, chat } = look();
  if (!now || !chat) return hide();
  const begins = (name) => name.toLowerCase().includes(now.name.toLowerCase());
  let people = chat.members.filter((person) => begins(person.name));
  if (chat.member_count > chat.members.length && now.name) {
    const told = await attempt(() => call("GET", `/groups/${chat.chat_id}/members?limit=${MOST}&search=${encodeURIComponent(now.name)}`));
    people = told ? told.items : people;
  }
  const special = chat.mode === "p2p" ? [] : [{ name: app.name, isBot: true }, { name: word("everyone") }];
  const found = [...special.filter((one) => begins(one.name)), ...people].slice(0, MOST);
  if (!found.length) return hide();
  chosen = 0;
  $("mentions").replaceChildren(...found.map((one) =>
    make("li", { role: "option", "data-name": one.name, onmousedown: (event) => { event.preventDefault(); take(one.name); } }, avatar(one.name, one.isBot), one.name)));
  $("mentions").hidden = false;
  mark();
});

function hide() {
  $("mentions").hidden = true;
}

function mark() {
  [...$("mentions").children].forEach((line, index) => line.setAttribute("aria-selected", String(index === chosen)));
  $("mentions").children[chosen]?.scrollIntoView({ block: "nearest" });
}

function take(name) {
  const field = $("text");
  const now = typed();
  if (!now) return hide();
  const end = field.selectionStart;
  field.setRangeText(`@${name} `, now.at, end, "end");
  hide();
  field.focus();
}

// Arrows choose, Enter and Tab take, Escape closes; answers whether the key was ours.
function press(event) {
  if ($("mentions").hidden || event.isComposing) return false;
  const count = $("mentions").children.length;
  if (event.key === "ArrowDown") chosen = (chosen + 1) % count;
  else if (event.key === "ArrowUp") chosen = (chosen + count - 1) % count;
  else if (event.key === "Enter" || event.key === "Tab") take($("mentions").children[chosen].dataset.name);
  else if (event.key === "Escape") hide();
  else return false;
  event.preventDefault();
  mark();
  return true;
}

export function start(looks, otherwise) {
  look = looks;
  const field = $("text");
  field.addEventListener("input", offer);
  field.addEventListener("click", offer);
  field.addEventListener("blur", hide);
  field.addEventListener("keydown", (event) => { if (!press(event)) otherwise(event); });
}
