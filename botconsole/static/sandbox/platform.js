// The platform tab: request URL, clock, faults, limits, pushes and calls.
import { $, attempt, call, clockTime, confirm, make, merged, toast } from "./tools.js";
import { word } from "./words.js";

const FAULTS = [
  ["fault_down", { down: true }], ["fault_slow", { slow_ms: 5000 }], ["fault_502", { status: 502 }],
  ["fault_token", { code: 99991663 }], ["fault_limit", { code: 99991400 }], ["fault_drop", { drop_answer: true }],
];
const FACTORS = [1, 10, 60, 3600];
const GROUP_MESSAGES = "im:message.group_msg";
const opened = new Set();
let missing = [];

export function show(state) {
  const url = $("webhook-url");
  if (document.activeElement !== url) url.value = state.webhook;
  $("clock").replaceChildren(...FACTORS.map((factor) => make("button", {
    type: "button", class: "choice", "aria-pressed": String(state.clock.factor === factor), onclick: () => attempt(() => call("POST", "/clock", { factor })),
  }, `×${factor}`)));
  drawTimes();
  $("fault-kinds").replaceChildren(...FAULTS.map(([name, fault]) => make("button", { type: "button", class: "choice", onclick: () => setFault(fault) }, word(name))));
  $("fault-list").replaceChildren(...(state.faults.length ? state.faults.map(faultLine) : [make("li", { class: "hint" }, word("none_active"))]));
  drawLimits(state.limits);
  const unanswered = $("unanswered");
  unanswered.hidden = !state.counts.unanswered;
  unanswered.textContent = state.counts.unanswered;
  missing = state.missing_scopes;
  $("scope").setAttribute("aria-pressed", String(!missing.includes(GROUP_MESSAGES)));
  $("push-count").textContent = state.counts.pushes;
  $("call-count").textContent = state.counts.calls;
}

function drawTimes() {
  const times = $("fault-times");
  const before = times.value;
  times.replaceChildren(make("option", { value: "" }, word("until_off")), ...[1, 3, 10].map((n) => make("option", { value: n }, word("next_times", { n }))));
  times.value = before;
}

function drawLimits(limits) {
  const lines = limits.map((one) => make("div", { class: "gauge" }, make("span", {}, one.api), make("meter", { min: 0, max: 1000, high: 800, value: one.minute }), make("span", { class: "number" }, one.minute)));
  $("limits").replaceChildren(...(lines.length ? lines : [make("p", { class: "hint" }, word("quiet"))]));
}

function setFault(fault) {
  const times = $("fault-times").value;
  return attempt(() => call("POST", "/faults", times ? { ...fault, times: Number(times) } : fault));
}

function faultLine(fault) {
  const [name] = FAULTS.find(([, body]) => Object.entries(body).every(([key, value]) => fault[key] === value)) || [""];
  const details = name ? word(name) : JSON.stringify(fault);
  return make("li", {},
    make("b", {}, details),
    fault.path ? make("code", {}, fault.path) : "",
    make("span", { class: "hint" }, fault.times === null ? word("until_off") : word("left", { n: fault.times })),
    make("button", { type: "button", class: "quiet", onclick: () => attempt(() => call("DELETE", `/faults/${fault.number}`)) }, word("off")));
}

export const refresh = merged(async () => {
  if (document.body.dataset.tab !== "platform") return;
  const [pushes, calls] = await Promise.all([call("GET", "/pushes?limit=100"), call("GET", "/calls?limit=100")]);
  $("pushes").replaceChildren(...(pushes.items.length ? pushes.items.map(pushLine) : [make("p", { class: "hint" }, word("no_pushes"))]));
  $("calls").replaceChildren(...(calls.items.length ? calls.items.map(callLine) : [make("p", { class: "hint" }, word("no_calls"))]));
});

function row(id, head, body) {
  const line = make("details", { class: "row", open: opened.has(id) }, make("summary", {}, ...head), ...body);
  line.addEventListener("toggle", () => (line.open ? opened.add(id) : opened.delete(id)));
  return line;
}

function pushLine(push) {
  const last = push.tries[push.tries.length - 1];
  const result = last ? `${last.error ? word(last.error) : last.status} · ${last.ms} ms` : word(push.state);
  const mood = { acked: "good", gone: "bad", retrying: "warn" }[push.state] || "";
  const when = push.state === "retrying" && push.next_try_at ? word("next_try", { t: clockTime(push.next_try_at, true) }) : "";
  const again = () => attempt(() => call("POST", `/pushes/${push.event_id}/again`));
  const tries = push.tries.map((one) => make("li", {}, `${clockTime(one.at, true)} → ${one.error ? word(one.error) : one.status} · ${one.ms} ms`));
  return row(push.event_id,
    [make("time", {}, clockTime(push.created_at, true)), make("code", {}, push.type), make("span", { class: `state ${mood}` }, word(push.state)),
      make("span", { class: "hint" }, [result, push.tries.length > 1 ? word("tries", { n: push.tries.length }) : "", when].filter(Boolean).join(" · "))],
    [make("div", { class: "line" }, make("code", {}, push.event_id), make("button", { type: "button", onclick: again }, word("again"))),
      make("ul", { class: "tries" }, ...tries), make("pre", {}, JSON.stringify(push.payload, null, 2))]);
}

function callLine(one) {
  const good = one.status === 200 && !one.fault;
  const state = one.fault || (one.known ? `${one.status} · ${one.code ?? ""}` : word("unknown_call"));
  return row(one.log_id,
    [make("time", {}, clockTime(one.at, true)), make("b", { class: "method" }, one.method), make("code", {}, one.path.replace("/open-apis", "")),
      make("span", { class: `state ${good ? "good" : "bad"}` }, state), make("span", { class: "hint" }, `${one.ms} ms`)],
    [make("p", { class: "hint" }, `log_id ${one.log_id}${one.query ? ` · ?${one.query}` : ""}`),
      one.request ? make("h3", {}, word("request")) : "", one.request ? make("pre", {}, pretty(one.request)) : "",
      one.answer ? make("h3", {}, word("answer")) : "", one.answer ? make("pre", {}, pretty(one.answer)) : ""]);
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

export function start() {
  $("scope").addEventListener("click", () => {
    const others = missing.filter((scope) => scope !== GROUP_MESSAGES);
    attempt(() => call("POST", "/scopes", { missing: others.length < missing.length ? others : [...others, GROUP_MESSAGES] }));
  });
  $("webhook").addEventListener("submit", (event) => {
    event.preventDefault();
    $("webhook-url").blur();
    attempt(async () => {
      await call("POST", "/webhook", { url: $("webhook-url").value });
      toast(word("saved"), "success");
    });
  });
  $("reset").addEventListener("click", async () => {
    if (await confirm(word("reset"), word("reset_sure"))) await attempt(() => call("POST", "/reset"));
  });
}
