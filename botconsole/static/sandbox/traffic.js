// What went over the wire: every push to the app and every call it made, the newest first.
import { $, attempt, call, clockTime, make, merged } from "./tools.js";
import { word } from "./words.js";

const PAGE = 100;
const PAUSE = 300; // milliseconds between two looks, however much goes on
const lists = {
  pushes: { most: PAGE, id: (push) => push.event_id, line: pushLine, none: "no_pushes", rows: new Map() },
  calls: { most: PAGE, id: (one) => one.log_id, line: callLine, none: "no_calls", rows: new Map() },
};

export const refresh = merged(async () => {
  if (document.body.dataset.tab !== "platform") return;
  await Promise.all(Object.keys(lists).map(draw));
}, PAUSE);

// Rows that did not change stay as they are: one may be reading in them.
async function draw(name) {
  const list = lists[name];
  const told = await call("GET", `/${name}?limit=${list.most + 1}`);
  const wanted = $(`${name}-filter`).value.trim().toLowerCase();
  const items = told.items.slice(0, list.most);
  const shown = wanted ? items.filter((item) => JSON.stringify(item).toLowerCase().includes(wanted)) : items;
  const before = list.rows;
  list.rows = new Map();
  for (const item of shown) {
    const id = list.id(item);
    const mark = document.documentElement.lang + JSON.stringify(item);
    const known = before.get(id);
    const row = known?.mark === mark ? known.row : list.line(item);
    if (known && known.row !== row) row.open = known.row.open;
    list.rows.set(id, { mark, row });
  }
  const rows = [...list.rows.values()].map((one) => one.row);
  const place = $(name);
  if (rows.length !== place.children.length || rows.some((row, index) => place.children[index] !== row)) {
    place.replaceChildren(...(rows.length ? rows : [make("p", { class: "hint" }, word(wanted ? "nothing_found" : list.none))]));
  }
  $(`${name}-more`).hidden = told.items.length <= list.most;
}

// What is inside is drawn when it is opened.
function row(head, body) {
  const line = make("details", { class: "row" }, make("summary", {}, ...head));
  line.addEventListener("toggle", () => { if (line.open && line.children.length === 1) line.append(...body().filter(Boolean)); });
  return line;
}

const answered = (one) => (one.error ? word(one.error) : one.status);

function pushLine(push) {
  const last = push.tries[push.tries.length - 1];
  const mood = { acked: "good", gone: "bad", retrying: "warn" }[push.state] || "";
  const about = [
    last ? `${answered(last)} · ${last.ms} ms` : "",
    push.tries.length > 1 ? word("tries", { n: push.tries.length }) : "",
    push.state === "retrying" && push.next_try_at ? word("next_try", { t: clockTime(push.next_try_at, true) }) : "",
  ];
  const again = () => attempt(() => call("POST", `/pushes/${push.event_id}/again`));
  return row(
    [make("time", {}, clockTime(push.created_at, true)), make("code", {}, push.type), make("span", { class: `state ${mood}` }, word(push.state)),
      make("span", { class: "hint" }, about.filter(Boolean).join(" · "))],
    () => [make("div", { class: "line" }, make("code", {}, push.event_id), make("button", { type: "button", onclick: again }, word("again"))),
      make("ul", { class: "tries" }, ...push.tries.map((one) => make("li", {}, `${clockTime(one.at, true)} → ${answered(one)} · ${one.ms} ms`, one.answer && make("pre", {}, pretty(one.answer))))),
      make("pre", {}, JSON.stringify(push.payload, null, 2))]);
}

function callLine(one) {
  const good = one.status === 200 && !one.fault;
  const state = one.fault || (one.known ? `${one.status} · ${one.code ?? ""}` : word("unknown_call"));
  return row(
    [make("time", {}, clockTime(one.at, true)), make("b", { class: "method" }, one.method), make("code", {}, one.path.replace("/open-apis", "")),
      make("span", { class: `state ${good ? "good" : "bad"}` }, state), make("span", { class: "hint" }, `${one.ms} ms`)],
    () => [make("p", { class: "hint" }, `log_id ${one.log_id}${one.query ? ` · ?${one.query}` : ""}`),
      one.request && make("h3", {}, word("request")), one.request && make("pre", {}, pretty(one.request)),
      one.answer && make("h3", {}, word("answer")), one.answer && make("pre", {}, pretty(one.answer))]);
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

export function start() {
  for (const [name, list] of Object.entries(lists)) {
    $(`${name}-filter`).addEventListener("input", refresh);
    $(`${name}-more`).addEventListener("click", () => {
      list.most = 1000;
      refresh();
    });
  }
}
