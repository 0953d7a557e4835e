"use strict";

const byId = (id) => document.getElementById(id);
const [talk, problem, form, keyRow, key, languageRow, language, question, send, stop] =
  ["talk", "problem", "form", "key-row", "key", "language-row", "language", "question", "send", "stop"].map(byId);
const STORED_KEY = "lilift-api-key";
key.value = sessionStorage.getItem(STORED_KEY) ?? "";
let takesRatings = false;
let models = [{ id: null }];  // the model, and perhaps one beside it
let answering = null;  // the AbortController of the running answer

function headers() {
  const wanted = { "Content-Type": "application/json" };
  if (key.value) wanted.Authorization = `Bearer ${key.value}`;
  return wanted;
}

async function called(path, options = {}) {
  const response = await fetch(path, { headers: headers(), ...options });
  if (response.ok) {
    if (key.value) sessionStorage.setItem(STORED_KEY, key.value);
    return response;
  }
  if (response.status === 401) {
    keyRow.hidden = false;
    key.focus();
  }
  const body = await response.json().catch(() => ({}));
  throw new Error(body.error?.message ?? `The server answered with the error ${response.status}. Try again.`);
}

function entry(kind, text) {
  const item = document.createElement("li");
  item.className = kind;
  item.dir = "auto";
  item.textContent = text;
  talk.append(item);
  item.scrollIntoView({ block: "end" });
  return item;
}

function note(item, text) {
  const line = document.createElement("span");
  line.className = "note";
  line.dir = "ltr";
  line.textContent = text;
  item.append(line);
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    waiting += value;
    const parts = waiting.split("\n\n");
    waiting = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: /, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

// What the model read, and what the answer was before its translation.
function notes(item, facts) {
  if (facts.route) note(item, `Route: ${facts.route}, because ${facts.route_reason}.`);
  if (facts.translated !== undefined) note(item, `The question in English: ${facts.translated}`);
  if (facts.numbers_kept === false) note(item, "The translation of the question has lost a number.");
  if (facts.untranslated !== undefined) note(item, `The answer in English: ${facts.untranslated}`);
  if (facts.response_numbers_kept === false) note(item, "The translation of the answer has lost a number. Trust the English.");
  if (facts.response_complete === false) note(item, "The translation of the answer is not complete. Trust the English.");
}

async function show(item, text, response) {
  let ending = null;
  let facts = {};
  for await (const event of events(response)) {
    if (event.error) throw new Error(event.error.message);
    facts = event.lilift ?? facts;
    const choice = event.choices[0];
    if (choice?.delta.content) text.append(choice.delta.content);
    ending = choice?.finish_reason ?? ending;
    item.scrollIntoView({ block: "end" });
  }
  const answer = text.textContent.trim();
  if (ending === null) throw new Error("The connection to the server broke before the answer was complete. Ask again.");
  if (facts.question_was_cut) note(item, "Your question was too long. The model did not read its end.");
  if (ending === "length") note(item, "The answer stops here because it reached the maximum length.");
  notes(item, facts);
  return answer;
}

function button(text, pressed) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.addEventListener("click", pressed);
  return made;
}

// Under an answer: is it right? A wrong one can be corrected. What is saved cannot be saved twice.
function rating(item, asked, answer, model) {
  const box = document.createElement("div");
  box.className = "rating";
  box.dir = "ltr";
  const save = async (right, correction) => {
    const controls = box.querySelectorAll("button, textarea");
    controls.forEach((control) => { control.disabled = true; });
    problem.textContent = "";
    try {
      const body = JSON.stringify({ question: asked, answer, right, correction, model });
      await called("v1/lilift/ratings", { method: "POST", body });
      box.replaceChildren();
      note(box, right ? "Saved as right." : correction.trim() ? "Saved with your correction." : "Saved as wrong.");
      question.focus();
    } catch (error) {
      controls.forEach((control) => { control.disabled = false; });
      problem.textContent = said(error);
    }
  };
  const correct = () => {
    const label = document.createElement("label");
    label.textContent = "What would be right? You may leave it empty.";
    const text = document.createElement("textarea");
    text.rows = 2;
    text.dir = "auto";
    label.append(text);
    box.replaceChildren(label, button("Save", () => save(false, text.value)));
    text.focus();
  };
  box.append(button("Right", () => save(true, "")), button("Wrong", correct));
  item.append(box);
  item.scrollIntoView({ block: "end" });
}

function busy(controller) {
  answering = controller;
  send.disabled = controller !== null;
  stop.disabled = controller === null;
  talk.setAttribute("aria-busy", String(controller !== null));
}

// What the server serves. It needs the key, so the page asks again with the first question if there was none.
async function loadModels() {
  const { data } = await (await called("v1/models")).json();
  models = data;
  byId("model").textContent = data.map(({ id }) => id).join(" and, beside it, ");
  document.body.classList.toggle("wide", data.length > 1);
  takesRatings = data[0].lilift.takes_ratings;
  const names = new Intl.DisplayNames(["en"], { type: "language", fallback: "code" });
  language.replaceChildren(...data[0].lilift.languages.map((code) => new Option(`${names.of(code)} (${code})`, code)));
  languageRow.hidden = data[0].lilift.languages.length < 2;
}

function said(error) {
  return error instanceof TypeError ? "The page cannot reach the server. Is it still running?" : error.message;
}

// A place for each model's answer: the list's entry itself, or parts of it beside each other with the models' names.
function places() {
  const item = entry(models.length > 1 ? "pair" : "answer", "");
  if (models.length === 1) return { item, parts: [{ box: item, text: item, model: models[0].id }] };
  const parts = models.map(({ id }) => {
    const box = document.createElement("section");
    box.className = "answer";
    box.dir = "auto";
    box.setAttribute("aria-label", id);
    const name = document.createElement("h2");
    name.textContent = id;
    name.dir = "ltr";
    const text = document.createElement("span");
    box.append(name, text);
    item.append(box);
    return { box, text, model: id };
  });
  item.scrollIntoView({ block: "end" });
  return { item, parts };
}

async function answered(part, asked, signal) {
  const body = { model: part.model, messages: [{ role: "user", content: asked }], stream: true };
  if (!languageRow.hidden) body.lilift = { language: language.value };
  const response = await called("v1/chat/completions", { method: "POST", body: JSON.stringify(body), signal });
  const answer = await show(part.box, part.text, response);
  if (takesRatings) rating(part.box, asked, answer, part.model);
}

async function ask(event) {
  event.preventDefault();
  const text = question.value.trim();
  if (answering || !text) return;
  problem.textContent = "";
  const controller = new AbortController();
  busy(controller);
  if (models[0].id === null) await loadModels().catch(() => {});  // the question itself will show what is wrong
  const asked = entry("question", text);
  const { item, parts } = places();
  question.value = "";
  const outcomes = await Promise.allSettled(parts.map((part) => answered(part, text, controller.signal)));
  const nothing = parts.every((part) => !part.text.textContent);
  outcomes.forEach(({ status, reason }, place) => {
    if (status === "fulfilled") return;
    if (controller.signal.aborted) {
      note(parts[place].box, "Stopped.");
    } else {
      problem.textContent = said(reason);
      if (parts.length > 1) note(parts[place].box, said(reason));
    }
  });
  if (nothing && !controller.signal.aborted && outcomes.every(({ status }) => status === "rejected")) {
    item.remove();
    asked.remove();
    question.value = question.value || text;  // the user does not have to type the question again
  }
  busy(null);
  if (keyRow.hidden || key.value) question.focus();
}

form.addEventListener("submit", ask);
stop.addEventListener("click", () => answering?.abort());
question.addEventListener("keydown", (event) => {
  // Many scripts compose a character from several keys. During that, Enter belongs to the input method.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") answering?.abort();
});
loadModels().catch((error) => { problem.textContent = said(error); });
