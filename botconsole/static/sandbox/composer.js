// What is being written: a new message, a reply (in a thread or not), a change of an own text, a file.
import * as mention from "./mention.js";
import { $, attempt, call, make } from "./tools.js";
import { word } from "./words.js";

let chatId = () => "";
let mentionsBot = false;
let about = null; // { kind: "reply" | "edit", id, label }

const drafts = new Map(); // chat_id -> what was begun there and not sent

export const who = () => $("act-as").value;

export function clear() {
  if (about?.kind === "edit") $("text").value = "";
  about = null;
  draw();
}

// Another chat is opened: what was begun in this one stays there.
export function turnTo(id) {
  const left = chatId();
  if (about?.kind === "edit") clear();
  drafts.set(left, $("text").value);
  about = null;
  $("text").value = drafts.get(id) || "";
  grow();
  draw();
}

export const draft = (id) => (drafts.get(id) || "").trim();

export function draw() {
  const bar = $("about");
  const checked = Boolean(!bar.hidden && $("in-thread")?.checked);
  bar.hidden = !about;
  if (!about) return;
  const thread = make("label", { class: "check" }, make("input", { type: "checkbox", id: "in-thread", checked }), word("in_thread"));
  bar.replaceChildren(
    make("span", { class: "about-text" }, `${word(about.kind)} ${about.label}`),
    about.kind === "reply" ? thread : "",
    make("button", { type: "button", class: "quiet", onclick: clear }, word("cancel")));
}

export function reply(item) {
  about = { kind: "reply", id: item.message_id, label: item.sender.name };
  draw();
  $("text").focus();
}

export function edit(item, text) {
  about = { kind: "edit", id: item.message_id, label: "" };
  draw();
  $("text").value = text;
  grow();
  $("text").focus();
}

function send(body) {
  const answered = about?.kind === "reply" ? { reply_to: about.id, in_thread: $("in-thread").checked } : {};
  return attempt(() => call("POST", `/groups/${chatId()}/messages`, { open_id: who(), ...answered, ...body }));
}

async function say(event) {
  event.preventDefault();
  const text = $("text").value.trim();
  if (!text) return;
  $("text").value = "";
  grow();
  const told = about?.kind === "edit"
    ? await attempt(() => call("PATCH", `/messages/${about.id}`, { open_id: who(), text }))
    : await send({ text, mention_bot: mentionsBot });
  if (told) clear();
  else $("text").value = text;
  grow();
}

// As high as what is written, within limits.
function grow() {
  const field = $("text");
  field.rows = Math.min(6, field.value.split("\n").length);
}

// Enter sends, Shift+Enter begins a line, Escape lets go of a reply or change; an input method's own keys do neither.
function typed(event) {
  if (event.key === "Escape" && about && !event.isComposing) return clear();
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("composer").requestSubmit();
}

const encoded = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(file);
});

async function attach(event) {
  const file = event.target.files[0];
  event.target.value = "";
  if (!file) return;
  const base64 = await attempt(() => encoded(file));
  if (base64 === null) return;
  if (about?.kind === "edit") clear();
  const told = await send(/^image\/(png|jpeg|gif|webp|bmp)$/.test(file.type) ? { image: base64 } : { file: { name: file.name, base64 } });
  if (told) clear();
}

export function start(openChat, showing) {
  chatId = openChat;
  mention.start(showing, typed);
  $("text").addEventListener("input", grow);
  $("composer").addEventListener("submit", say);
  $("attach").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", attach);
  $("at-bot").addEventListener("click", () => {
    mentionsBot = !mentionsBot;
    $("at-bot").setAttribute("aria-pressed", String(mentionsBot));
  });
}
