// What every part of the page uses: calls to /_sandbox/, elements, toasts, questions.
import { word } from "./words.js";

export const $ = (id) => document.getElementById(id);

export async function call(method, path, body) {
  const options = { method };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "Content-Type": "application/json" };
  }
  const answer = await fetch(`/_sandbox${path}`, options);
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(said.error || `HTTP ${answer.status}`);
  return said;
}

// Runs something a person asked for; what goes wrong is shown, not thrown.
export async function attempt(doing) {
  try {
    return await doing();
  } catch (error) {
    toast(error.message, "error");
    return null;
  }
}

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") element.className = value;
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

// Draws a list anew; who is at one of its buttons with the keyboard stays there (`data-key` says which is which).
export function redraw(place, ...lines) {
  const key = place.contains(document.activeElement) ? document.activeElement.dataset.key : "";
  place.replaceChildren(...lines);
  if (key) [...place.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key)?.focus();
}

export function avatar(name, isBot = false) {
  let sum = 7;
  for (const letter of name) sum = Math.imul(sum ^ letter.codePointAt(0), 2654435761);
  const letter = name.match(/[\p{L}\p{N}]/u);
  return make("span", { class: `avatar ${isBot ? "of-bot" : `tint-${(sum >>> 20) % 8}`}`, "aria-hidden": "true" }, letter ? letter[0] : "#");
}

export function clockTime(milliseconds, seconds = false) {
  const options = { hour: "2-digit", minute: "2-digit", hour12: false };
  if (seconds) options.second = "2-digit";
  const at = new Date(milliseconds);
  if (at.toDateString() !== new Date().toDateString()) Object.assign(options, { month: "2-digit", day: "2-digit" });
  return at.toLocaleString(document.documentElement.lang, options);
}

// In the list at the left: the time of today, the day of anything older.
export function listTime(milliseconds) {
  const at = new Date(milliseconds);
  if (at.toDateString() === new Date().toDateString()) return clockTime(milliseconds);
  return at.toLocaleDateString(document.documentElement.lang, { month: "2-digit", day: "2-digit" });
}

export function dayOf(milliseconds) {
  const at = new Date(milliseconds);
  if (at.toDateString() === new Date().toDateString()) return word("today");
  return at.toLocaleDateString(document.documentElement.lang, { year: "numeric", month: "long", day: "numeric" });
}

export function toast(text, kind = "info") {
  const shown = make("div", { class: `toast ${kind}` }, text);
  $("toasts").append(shown);
  setTimeout(() => shown.remove(), 4000);
}

// Opens a dialog; resolves to whether it was closed with its main button.
export function ask(dialog) {
  return new Promise((resolve) => {
    dialog.returnValue = "cancel";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok"), { once: true });
    dialog.showModal();
  });
}

export function confirm(title, text) {
  $("confirm-title").textContent = title || word("ok");
  $("confirm-text").textContent = text || "";
  return ask($("confirm-dialog"));
}

// At most one run at a time, and so many milliseconds apart; one more if asked meanwhile.
export function merged(doing, pause = 0) {
  let running = false;
  let again = false;
  return async function run() {
    if (running) {
      again = true;
      return;
    }
    running = true;
    try {
      do {
        again = false;
        await doing();
        if (pause) await new Promise((resolve) => setTimeout(resolve, pause));
      } while (again);
    } finally {
      running = false;
    }
  };
}
