"use strict";

const byId = (id) => document.getElementById(id);
const [talk, problem, form, keyRow, key, question, send, stop] =
  ["talk", "problem", "form", "key-row", "key", "question", "send", "stop"].map(byId);
const STORED_KEY = "lilift-api-key";
key.value = sessionStorage.getItem(STORED_KEY) ?? "";
let takesRatings = false;
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

async function show(item, response) {
  let ending = null;
  let cut = false;
  for await (const event of events(response)) {
    if (event.error) throw new Error(event.error.message);
    cut = cut || Boolean(event.lilift?.question_was_cut);
    const choice = event.choices[0];
    if (choice?.delta.content) item.append(choice.delta.content);
    ending = choice?.finish_reason ?? ending;
    item.scrollIntoView({ block: "end" });
  }
  const answer = item.textContent.trim();
  if (ending === null) throw new Error("The connection to the server broke before the answer was complete. Ask again.");
  if (cut) note(item, "Your question was too long. The model did not read its end.");
  if (ending === "length") note(item, "The answer stops here because it reached the maximum length.");
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
function rating(item, asked, answer) {
  const box = document.createElement("div");
  box.className = "rating";
  box.dir = "ltr";
  const save = async (right, correction) => {
    const controls = box.querySelectorAll("button, textarea");
    controls.forEach((control) => { control.disabled = true; });
    problem.textContent = "";
    try {
      const body = JSON.stringify({ question: asked, answer, right, correction });
      await called("v1/lilift/ratings", { method: "POST", body });
      box.replaceChildren();
      note(box, right ? "Saved as right." : correction.trim() ? "Saved with your correction." : "Saved as wrong.");
      question.focus();
    } catch (error) {
      controls.forEach((control) => { control.disabled = false; });
      problem.textContent = error instanceof TypeError ? "The page cannot reach the server. Is it still running?" : error.message;
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

async function ask(event) {
  event.preventDefault();
  const text = question.value.trim();
  if (answering || !text) return;
  problem.textContent = "";
  const controller = new AbortController();
  busy(controller);
  const asked = entry("question", text);
  const item = entry("answer", "");
  question.value = "";
  try {
    const body = JSON.stringify({ messages: [{ role: "user", content: text }], stream: true });
    const answer = await show(item, await called("v1/chat/completions", { method: "POST", body, signal: controller.signal }));
    if (takesRatings) rating(item, text, answer);
  } catch (error) {
    if (controller.signal.aborted) {
      note(item, "Stopped.");
    } else {
      problem.textContent = error instanceof TypeError ? "The page cannot reach the server. Is it still running?" : error.message;
      if (!item.textContent) {
        item.remove();
        asked.remove();
        question.value = question.value || text;  // the user does not have to type the question again
      }
    }
  } finally {
    busy(null);
    if (keyRow.hidden || key.value) question.focus();
  }
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
called("v1/models")
  .then((response) => response.json())
  .then((models) => {
    byId("model").textContent = models.data[0].id;
    takesRatings = models.data[0].lilift.takes_ratings;
  })
  .catch((error) => { problem.textContent = error.message; });
