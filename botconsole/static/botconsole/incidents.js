// Incidents: the alert card drawn while one is written, people added by a click, a page that stays true. Saves nothing.
"use strict";

(() => {
  const DELAY_MS = 250;
  const field = (id) => document.getElementById(id);

  // People the bots have heard of: a click adds one to the list.
  document.addEventListener("click", (press) => {
    const button = press.target.closest("[data-person]");
    if (!button) return;
    const list = field(button.dataset.into);
    const lines = list.value.split(/[\n,，;；、]+/).map((line) => line.trim()).filter(Boolean);
    if (!lines.includes(button.dataset.person)) lines.push(button.dataset.person);
    list.value = lines.join("\n");
  });
  function offerPeople() {
    for (const people of document.querySelectorAll("details.known-people")) {
      const list = field(people.querySelector("[data-person]").dataset.into);
      list?.closest(".form-row > div, .verb-field")?.append(people);
      people.hidden = !list; // read only
    }
  }
  offerPeople();

  // A verb's form that opens gets the cursor.
  document.addEventListener("toggle", (opened) => {
    if (!opened.target.matches("details.verb-step[open]")) return;
    opened.target.querySelector("textarea, select, input:not([type=hidden])")?.focus();
  }, true);

  // A link to a verb's field opens the verb.
  document.addEventListener("click", (press) => {
    const link = press.target.closest('a[href^="#id_"]');
    const step = link && document.querySelector(link.hash)?.closest("details.verb-step");
    if (!step) return;
    press.preventDefault();
    step.open = true;
    step.scrollIntoView({block: "nearest"});
  });

  // An incident's page stays true while one looks at it; a half-written note is not taken away.
  const ASK_EVERY_MS = 5000;
  let page = document.querySelector("[data-state]");
  const busy = () => page.querySelector("details[open]") || !window.getSelection().isCollapsed;
  async function renew() {
    const address = field("changed").querySelector("a").href;
    const search = location.pathname.endsWith("/change/") ? location.search : "";
    const answer = await fetch(address + search, {redirect: "error"});
    const text = await answer.text();
    const fresh = new DOMParser().parseFromString(text, "text/html").querySelector("[data-state]");
    if (!fresh || busy()) return;
    page.replaceWith(document.adoptNode(fresh));
    page = fresh;
    offerPeople();
  }
  async function keepTrue() {
    if (!document.hidden) {
      const answer = await fetch(page.dataset.state, {redirect: "manual"});
      if (!answer.ok) return; // logged out, or gone: the next click tells
      const changed = (await answer.json()).now !== page.dataset.now;
      if (changed && !busy()) await renew();
      else field("changed").hidden = !changed;
    }
    setTimeout(stayTrue, ASK_EVERY_MS);
  }
  const stayTrue = () => keepTrue().catch(() => setTimeout(stayTrue, ASK_EVERY_MS));
  if (page) setTimeout(stayTrue, ASK_EVERY_MS);

  const editor = field("incident-editor");
  if (!editor) return;
  const picture = field("picture");
  const problems = field("problems");
  const severity = field("id_severity");
  const service = field("id_service");
  const image = field("id_image");
  const severities = JSON.parse(field("service-severities").textContent);
  let timer = 0;
  let asked = 0;
  let thumbnail = "";
  let chosen = false;

  function showProblems(found) {
    const list = document.createElement("ul");
    for (const problem of found) {
      const item = document.createElement("li");
      item.textContent = problem.path ? `${problem.path} ${problem.message}` : problem.message;
      list.append(item);
    }
    problems.replaceChildren(...(found.length ? [list] : []));
  }

  function showThumbnail() {
    const place = picture.querySelector(".feishu-card__image--missing");
    if (!place || !thumbnail) return;
    const drawn = document.createElement("img");
    drawn.src = thumbnail;
    drawn.alt = "";
    drawn.className = "feishu-card__image";
    place.replaceWith(drawn);
  }

  async function refresh() {
    const mine = ++asked;
    const form = new FormData();
    for (const name of ["bot", "title", "severity", "service", "description"]) form.set(name, field(`id_${name}`).value);
    if (field("id_drill").checked) form.set("drill", "1");
    if (image.files.length) form.set("image", "1");
    const token = document.querySelector("#incident_form [name=csrfmiddlewaretoken]").value;
    try {
      const answer = await fetch(editor.dataset.preview, {
        method: "POST", body: form, headers: {"X-CSRFToken": token}, redirect: "error",
      });
      if (!answer.ok) throw new Error(answer.status);
      const shown = await answer.json();
      if (mine !== asked) return; // a later answer is on its way
      if (shown.html) picture.innerHTML = shown.html; // escaped by the server; the CSP runs nothing inline
      picture.classList.toggle("stale", !shown.html);
      field("chat-name").textContent = shown.chat_name;
      showProblems(shown.problems);
      showThumbnail();
    } catch {
      if (mine === asked) showProblems([{path: "", message: problems.dataset.away}]);
    }
  }

  function later() {
    clearTimeout(timer);
    timer = setTimeout(refresh, DELAY_MS);
  }

  function readImage() {
    thumbnail = "";
    if (image.files.length && image.files[0].size <= 10 * 1024 * 1024) {
      const reader = new FileReader();
      reader.addEventListener("load", () => { thumbnail = reader.result; showThumbnail(); });
      reader.readAsDataURL(image.files[0]);
    }
    refresh();
  }

  severity.addEventListener("change", () => { chosen = true; });
  service.addEventListener("change", () => {
    if (!chosen && severities[service.value]) severity.value = severities[service.value];
  });
  for (const name of ["title", "description"]) field(`id_${name}`).addEventListener("input", later);
  for (const chooser of [field("id_bot"), severity, service, field("id_drill")]) chooser.addEventListener("change", refresh);
  image.addEventListener("change", readImage);
})();
