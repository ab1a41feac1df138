// Scenarios: what can be played, what is being played, and recording what people do.
import { $, ask, attempt, call, make, toast } from "./tools.js";
import { current, word } from "./words.js";

let drawn = "";
let before = "";
let closed = ""; // the failure that was read

export function show(state) {
  const { recording } = state;
  const scenario = { ...state.scenario, ...(current() === "en" && state.scenario.en?.title ? { title: state.scenario.en.title } : {}) };
  const now = `${scenario.run} ${scenario.state}`;
  if (before && before !== now && ["done", "stopped"].includes(scenario.state)) toast(`${scenario.title}: ${word(`scenario_${scenario.state}`)}`, "success");
  before = now;
  drawBar(scenario);
  $("record").textContent = word(recording.on ? "record_stop" : "record_start");
  $("record").setAttribute("aria-pressed", String(recording.on));
  $("record").dataset.on = recording.on ? "1" : "";
  $("recorded").hidden = !recording.steps;
  $("recorded").textContent = word("recorded", { n: recording.steps });
}

// While one is played, and when it ended with an error.
function drawBar(scenario) {
  const bar = $("playing");
  const isOn = scenario.state === "playing";
  const failure = scenario.state === "failed" ? JSON.stringify(scenario) : "";
  bar.hidden = !isOn && (!failure || failure === closed);
  bar.className = `playing ${scenario.state}`;
  if (bar.hidden) return;
  const close = () => { closed = failure; bar.hidden = true; };
  bar.replaceChildren(
    make("b", {}, scenario.title),
    make("span", {}, isOn ? word("step_of", { n: scenario.step, of: scenario.of }) : `${word("scenario_failed")} ${scenario.error}`),
    isOn ? make("progress", { max: scenario.of, value: scenario.step, "aria-label": scenario.title }) : "",
    make("button", { type: "button", class: "quiet", onclick: isOn ? stop : close }, word(isOn ? "stop" : "close")));
}

const stop = () => attempt(() => call("POST", "/scenarios/stop"));

// The list does not change while the sandbox runs; it is drawn once for each language.
export async function refresh() {
  if (drawn === document.documentElement.lang) return;
  const told = await attempt(() => call("GET", "/scenarios"));
  if (!told) return;
  drawn = document.documentElement.lang;
  const inLanguage = (one) => (current() === "en" ? { ...one, ...one.en } : one);
  $("scenarios").replaceChildren(...told.items.map(inLanguage).map((one) =>
    make("li", {},
      make("div", {}, make("b", {}, one.title), make("p", { class: "hint" }, one.about)),
      make("button", { type: "button", "aria-label": `${word("play")} ${one.title}`, onclick: () => play({ name: one.name }, one) }, word("play")))));
}

async function play(what, scenario = { title: "", variables: {} }) {
  const names = Object.keys(scenario.variables);
  if (names.length) {
    $("variables-title").textContent = scenario.title;
    $("variables").replaceChildren(...names.map((name) =>
      make("label", {}, make("span", {}, name), make("input", { name, value: scenario.variables[name], autocomplete: "off" }))));
    if (!(await ask($("variables-dialog")))) return;
    const given = [...$("variables").querySelectorAll("input")].map((field) => [field.name, field.value]);
    what = { ...what, variables: Object.fromEntries(given) };
  }
  closed = "";
  await attempt(() => call("POST", "/scenarios/play", what));
}

export function start() {
  $("record").addEventListener("click", () => attempt(() => call("POST", "/recording", { on: !$("record").dataset.on })));
  $("play-file").addEventListener("click", () => $("scenario-file").click());
  $("scenario-file").addEventListener("change", async (event) => {
    const file = event.target.files[0];
    event.target.value = "";
    if (file) await play({ yaml: await file.text() });
  });
}
