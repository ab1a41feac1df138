// The people of the open chat: who is in it, who acts, who comes and goes.
import { markOwn } from "./messages.js";
import { showBot } from "./profile.js";
import { $, attempt, avatar, call, make, merged, redraw } from "./tools.js";
import { word } from "./words.js";

const MANY = 20; // from here on there is a field to search them
let state = { app: {}, people: [], fresh_name: "" };
let chat = null;
let found = null; // what was searched for, in place of the first hundred

export function show(next, openChat) {
  if (chat?.chat_id !== openChat?.chat_id) {
    $("member-search").value = "";
    found = null;
  }
  state = next;
  chat = openChat;
  draw();
  if (found) search();
}

const outsiders = () => state.people.filter((person) => !chat?.members.some((member) => member.open_id === person.open_id));
const isGroup = () => Boolean(chat) && chat.mode !== "p2p";

function draw() {
  const count = chat ? chat.member_count : 0;
  const isOpen = isGroup() && chat.status === "normal";
  const shown = found || (chat ? chat.members : []);
  $("member-count").textContent = count || "";
  $("add-member").hidden = $("group-tools").hidden = !isOpen;
  $("leave").hidden = !count;
  $("member-search").hidden = count <= MANY;
  $("move-bot").textContent = word(chat && chat.bot_in ? "bot_leaves" : "bot_joins");
  const name = $("member-name");
  if (!name.value || name.value === name.dataset.fresh) name.value = name.dataset.fresh = state.fresh_name;
  $("known-people").replaceChildren(...outsiders().map((person) => make("option", { value: person.name })));
  drawActors();
  const bot = chat && chat.bot_in && !found ? [botLine()] : [];
  redraw($("member-list"), ...bot, ...shown.map(line));
  if (chat && !shown.length) $("member-list").append(make("li", { class: "hint" }, word(found ? "nobody_found" : "nobody")));
  else if (chat && !found && count > shown.length) $("member-list").append(make("li", { class: "hint" }, word("more_members", { n: count - shown.length })));
}

const botLine = () =>
  make("li", {},
    make("button", { type: "button", class: "person", onclick: showBot }, avatar(state.app.name, true), make("span", { class: "name" }, state.app.name), make("span", { class: "badge" }, word("bot"))));

function line(person) {
  const remove = () => attempt(() => call("DELETE", `/groups/${chat.chat_id}/members/${person.open_id}`));
  return make("li", { title: person.open_id },
    make("button", { type: "button", class: "person", "data-key": person.open_id, onclick: () => actAs(person), "aria-label": word("act_as_person", { name: person.name }) },
      avatar(person.name),
      make("span", { class: "name" }, person.name),
      person.open_id === chat.owner_id ? make("span", { class: "badge plain" }, word("owner")) : "",
      chat.managers.includes(person.open_id) ? make("span", { class: "badge plain" }, word("manager")) : "",
      person.open_id === $("act-as").value ? make("span", { class: "badge acting" }, word("you")) : ""),
    isGroup() ? make("button", { type: "button", class: "quiet remove", "data-key": `remove ${person.open_id}`, onclick: remove, "aria-label": `${word("remove")} ${person.name}` }, word("remove")) : "");
}

// Who acts stays who acts, also beyond the first hundred.
function drawActors() {
  const act = $("act-as");
  const before = { open_id: act.value, name: act.selectedOptions[0]?.textContent || "" };
  const members = chat ? [...chat.members] : [];
  const isIn = members.some((person) => person.open_id === before.open_id);
  if (!isIn && act.dataset.chat === chat?.chat_id && before.open_id && chat.member_count > members.length) members.push(before);
  act.replaceChildren(...members.map((person) => make("option", { value: person.open_id }, person.name)));
  act.dataset.chat = chat?.chat_id || "";
  if (members.some((person) => person.open_id === before.open_id)) act.value = before.open_id;
  markOwn(act.value, chat);
}

function actAs(person) {
  const act = $("act-as");
  if (![...act.options].some((option) => option.value === person.open_id)) act.append(make("option", { value: person.open_id }, person.name));
  act.value = person.open_id;
  act.dispatchEvent(new Event("change"));
  document.body.dataset.view = "talk";
  if (!$("composer").hidden) $("text").focus();
}

const search = merged(async () => {
  const text = $("member-search").value.trim();
  const asked = chat;
  const told = text && asked ? await attempt(() => call("GET", `/groups/${asked.chat_id}/members?limit=100&search=${encodeURIComponent(text)}`)) : null;
  if (asked !== chat && asked?.chat_id !== chat?.chat_id) return;
  found = told ? told.items : null;
  draw();
});

async function add(event) {
  event.preventDefault();
  const name = $("member-name");
  const wanted = name.value.trim();
  const known = outsiders().find((person) => person.name === wanted); // nobody becomes two people by joining twice
  const made = await attempt(() => call("POST", `/groups/${chat.chat_id}/members`, known ? { open_id: known.open_id } : { name: wanted }));
  if (made) name.value = "";
}

export function start() {
  $("add-member").addEventListener("submit", add);
  $("member-search").addEventListener("input", search);
  $("act-as").addEventListener("change", draw);
}
