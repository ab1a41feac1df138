// The platform tab: how the app is reached, the clock, scopes, fault switches and gauges.
import { $, attempt, call, confirm, make, redraw, toast } from "./tools.js";
import * as traffic from "./traffic.js";
import { word } from "./words.js";

const FACTORS = [1, 10, 60, 3600];
const GROUP_MESSAGES = "im:message.group_msg";
const MOST_CONNECTIONS = 50;
export const refresh = traffic.refresh;
let missing = [];

export function show(state) {
  const url = $("webhook-url");
  if (document.activeElement !== url) url.value = state.webhook;
  drawTransport(state);
  redraw($("clock"), ...FACTORS.map((factor) => make("button", {
    type: "button", class: "choice", "data-key": factor, "aria-pressed": String(state.clock.factor === factor), onclick: () => attempt(() => call("POST", "/clock", { factor })),
  }, `×${factor}`)));
  drawTimes();
  const on = (effect) => state.faults.find((fault) => Object.entries(effect).every(([key, value]) => fault[key] === value));
  redraw($("fault-kinds"), ...Object.entries(state.switches).map(([name, effect]) => make("button", {
    type: "button", class: "choice", "data-key": name, title: JSON.stringify(effect), "aria-pressed": String(Boolean(on(effect))), onclick: () => (on(effect) ? endFault(on(effect)) : setFault(name)),
  }, word(`fault_${name}`))));
  const lines = state.faults.map((fault) => faultLine(fault, state.switches));
  $("fault-list").replaceChildren(...(lines.length ? lines : [make("li", { class: "hint" }, word("none_active"))]));
  drawLimits(state.limits, state.peaks);
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

const gauge = (value, most) => [make("meter", { min: 0, max: most, high: most * 0.8, value, "aria-label": `${value} / ${most}` }), make("span", { class: "number" }, `${value}/${most}`)];

// Feishu saves the long connection only while a client is online, and so does this page.
function drawTransport(state) {
  const way = (name) => make("button", {
    type: "button", class: "choice", "data-key": name, "aria-pressed": String(Object.values(state.transports).every((one) => one === name)),
    onclick: () => attempt(() => call("POST", "/transport", { transport: name, strict: true })),
  }, word(name));
  redraw($("transport"), way("webhook"), way("long_connection"));
  const lines = state.connections.map((one) => make("li", {},
    make("code", {}, one.device_id), make("span", { class: "hint" }, word("connection_about", one)), one.half_open ? make("span", { class: "state bad" }, word("fault_half_open")) : ""));
  const count = make("li", { class: "gauge" }, make("span", {}, word("connections")), ...gauge(lines.length, MOST_CONNECTIONS));
  $("connections").replaceChildren(...(lines.length ? [count, ...lines] : [make("li", { class: "hint" }, word("no_connections"))]));
  $("drop").hidden = !lines.length;
}

function drawLimits(limits, peaks) {
  const lines = limits.map((one) => make("div", { class: "gauge" }, make("code", {}, one.api.replace("/open-apis", "")), ...gauge(one.second, 50), ...gauge(one.minute, 1000)));
  const head = make("div", { class: "gauge hint" }, make("span", {}, word("per_call")), make("span", { class: "over" }, word("second")), make("span", { class: "over" }, word("minute")));
  const chats = peaks.map((one) => make("div", { class: "gauge" }, make("span", { class: "about-chat" }, one.about), ...gauge(one.second, one.most)));
  const peak = make("div", { class: "gauge hint" }, make("span", {}, word("per_chat")), make("span", { class: "over" }, word("peak_second")));
  if (chats.length) lines.push(peak, ...chats);
  $("limits").replaceChildren(...(lines.length ? [head, ...lines] : [make("p", { class: "hint" }, word("quiet"))]));
}

function setFault(name) {
  const times = $("fault-times").value;
  const path = $("fault-path").value.trim();
  return attempt(() => call("POST", "/faults", { switch: name, ...(times ? { times: Number(times) } : {}), ...(path ? { path } : {}) }));
}

const endFault = (fault) => attempt(() => call("DELETE", `/faults/${fault.number}`));

function faultLine(fault, switches) {
  const is = (effect) => Object.entries(effect).every(([key, value]) => fault[key] === value);
  const [name] = Object.entries(switches).find(([, effect]) => is(effect)) || [""];
  const told = Object.entries(fault).filter(([key, value]) => value && !["number", "times", "path"].includes(key));
  return make("li", {},
    make("b", {}, name ? word(`fault_${name}`) : told.map(([key, value]) => `${key} ${value}`).join(", ")),
    fault.path ? make("code", {}, fault.path) : "",
    make("span", { class: "hint" }, fault.times === null ? word("until_off") : word("left", { n: fault.times })),
    make("button", { type: "button", class: "quiet", onclick: () => endFault(fault) }, word("off")));
}

export function start() {
  traffic.start();
  $("drop").addEventListener("click", () => attempt(() => call("DELETE", "/connections")));
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
