// Makes drawn cards pressable: `data-action` says what a press sends, a form's fields travel with its submit button.
import { call, confirm, toast } from "./tools.js";
import { current, word } from "./words.js";

function fieldsOf(form) {
  const values = {};
  for (const field of form.querySelectorAll("[name]")) {
    if (field.type === "radio" && !field.checked) continue;
    if (field.type === "checkbox" && field.hasAttribute("value")) {
      values[field.name] = [...(values[field.name] || []), ...(field.checked ? [field.value] : [])];
    } else if (field.type === "checkbox") values[field.name] = field.checked;
    else if (field.multiple) values[field.name] = [...field.selectedOptions].map((option) => option.value);
    else values[field.name] = stamped(field);
  }
  return values;
}

// Dates and times in Feishu's form: "2024-04-29 07:07 +0800".
function stamped(field) {
  if (!["date", "time", "datetime-local"].includes(field.type) || !field.value) return field.value;
  const minutes = -new Date().getTimezoneOffset();
  const two = (number) => String(Math.floor(Math.abs(number))).padStart(2, "0");
  return `${field.value.replace("T", " ")} ${minutes < 0 ? "-" : "+"}${two(minutes / 60)}${two(minutes % 60)}`;
}

function chosen(target) {
  if (target.matches("select")) return target.multiple ? { options: [...target.selectedOptions].map((option) => option.value) } : { option: target.value };
  if (target.matches("input[type=checkbox]")) return { checked: target.checked };
  if (target.matches("input[type=date], input[type=time], input[type=datetime-local]")) return { option: stamped(target) };
  if (target.matches("input, textarea")) return { input_value: target.value };
  return {};
}

async function send(messageId, openId, target) {
  const { confirm: question, url, ...action } = JSON.parse(target.dataset.action || "{}");
  const form = target.closest("form");
  const submits = target.hasAttribute("data-submit");
  if (question && !(await confirm(question.title, question.text))) return;
  if (url) window.open(url, "_blank", "noopener");
  if (submits && form && !form.reportValidity()) return;
  if (action.value === undefined && !submits && action.tag === "button") return;
  const body = { open_id: openId, value: {}, ...action, ...chosen(target) };
  if (submits && form) body.form_value = fieldsOf(form);
  target.classList.add("is-pressed");
  try {
    tell(await call("POST", `/messages/${messageId}/press`, body));
  } catch (error) {
    toast(error.message, "error");
  } finally {
    target.classList.remove("is-pressed");
  }
}

function tell(result) {
  if (result.client_code) {
    toast(`${word("press_failed", { code: result.client_code })}\n${result.message}`, "error");
    return;
  }
  const said = result.answer.toast;
  if (!said) return;
  const translated = said.i18n && said.i18n[current() === "zh" ? "zh_cn" : "en_us"];
  toast(translated || said.content || "", said.type || "info");
}

// `who()` answers the open_id of the person who presses.
export function wire(list, who) {
  const messageOf = (target) => target.closest("[data-message]").dataset.message;
  list.addEventListener("click", (event) => {
    const target = event.target.closest("[data-action]");
    if (event.target.closest("[data-reset]")) event.target.closest("form")?.reset();
    else if (target && target.matches("button, [role=button]") && !event.target.closest("a")) send(messageOf(target), who(), target);
  });
  list.addEventListener("keydown", (event) => {
    const target = event.target;
    if (event.key !== "Enter" || !target.matches("[role=button][data-action], input[data-action]")) return;
    if (target.closest("form") && !target.matches("[role=button]")) return;
    event.preventDefault();
    send(messageOf(target), who(), target);
  });
  list.addEventListener("change", (event) => {
    const target = event.target;
    const picks = target.matches("select, input[type=checkbox], input[type=radio], input[type=date], input[type=time], input[type=datetime-local]");
    if (picks && target.dataset.action && !target.closest("form")) send(messageOf(target), who(), target);
  });
  list.addEventListener("submit", (event) => {
    event.preventDefault();
    event.target.querySelector("[data-submit]")?.click();
  });
}
