"use strict";
(() => {
  const proof = document.body.dataset.proof;
  const stored = "rlnlp-unsaved-" + proof.slice(0, 16);
  const at = (id) => document.getElementById(id);
  const TOO_SOON = 300;  // milliseconds: the second click of a double click is no answer to the next question
  const SHORTCUTS = {"1": "left", "ArrowLeft": "left", "2": "right", "ArrowRight": "right", "=": "tie", "s": "skip"};
  let question = null, busy = false, shownAt = 0, hiddenFor = 0, hiddenSince = null, waiting = null;

  if (location.search) history.replaceState(null, "", "/");

  const tell = (text, bad) => { at("status").textContent = text; at("status").classList.toggle("bad", Boolean(bad)); };
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));

  async function post(path, body) {
    const answer = await fetch(path, {
      method: "POST", credentials: "same-origin", cache: "no-store", body: JSON.stringify(body),
      headers: {"Content-Type": "application/json", "X-Rlnlp-Page": proof},
    });
    return {status: answer.status, value: await answer.json().catch(() => ({}))};
  }

  /* What was answered is kept here until the server has confirmed it, and sent again under the same name. */
  async function send(path, body) {
    localStorage.setItem(stored, JSON.stringify([path, body]));
    for (let wait = 1000; ; wait = Math.min(2 * wait, 8000)) {
      let answer = null;
      try { answer = await post(path, body); } catch { answer = {status: 0, value: {}}; }
      if (answer.status === 0 || answer.status === 408 || answer.status >= 500) {
        tell("Not saved yet (" + (answer.value.error || "the server does not answer") + "). Trying again …", true);
        await pause(wait);
        continue;
      }
      if (answer.status !== 403) localStorage.removeItem(stored);
      return answer;
    }
  }

  function part(text, name) {
    const box = document.createElement(name === "role" ? "p" : "div");
    box.className = name;
    box.textContent = text;
    return box;
  }

  function fill(box, text) {
    box.textContent = text === "" ? "(empty)" : text;
    box.classList.toggle("empty", text === "");
  }

  function show(value) {
    clearTimeout(waiting);
    question = value.question;
    const total = value.answered + value.left;
    at("progress").max = Math.max(total, 1);
    at("progress").value = value.answered;
    at("count").textContent = value.answered + " of " + total;
    at("asked").hidden = question === null;
    at("done").hidden = question !== null;
    for (const id of ["undo", "undo-last"]) at(id).disabled = value.answered === 0;
    if (question === null) {
      at("done-title").focus();
      waiting = setTimeout(load, 5000);
      return;
    }
    const pair = question.responses.length === 2;
    at("prompt").replaceChildren(...question.prompt.flatMap(([role, text]) => [
      ...(role ? [part(role, "role")] : []), part(text || "(none)", "text"),
    ]));
    fill(at("left"), question.responses[0]);
    if (pair) fill(at("right"), question.responses[1]);
    at("right-box").hidden = !pair;
    document.querySelector(".responses").classList.toggle("one", !pair);
    at("left-title").textContent = pair ? "Response 1" : "Response";
    at("title").textContent = document.title = pair ? "Which response is better?" : "How good is the response? (1 worst, 10 best)";
    at("comparison").hidden = !pair;
    at("rating").hidden = pair;
    document.querySelector("input[name=sure][value='']").checked = true;
    shownAt = performance.now();
    hiddenFor = 0;
    hiddenSince = document.hidden ? shownAt : null;
    at("prompt-title").focus({preventScroll: true});
    window.scrollTo(0, 0);
  }

  function take(answer, words) {
    busy = false;
    if (answer.status === 200 || answer.status === 409) {
      tell(answer.status === 409 ? "That was answered in another window already." : words);
      show(answer.value);
    } else {
      tell(answer.value.error || "This could not be done.", true);
      if (answer.status !== 403) load();
    }
  }

  async function answer(said) {
    if (busy || question === null || performance.now() - shownAt < TOO_SOON) return;
    busy = true;
    const away = hiddenFor + (hiddenSince === null ? 0 : performance.now() - hiddenSince);
    const sure = document.querySelector("input[name=sure]:checked").value;
    const body = {
      item: question.item, revision: question.revision, order: question.order, answer: said,
      seconds: Math.max(0, Math.round(performance.now() - shownAt - away)) / 1000,
      confidence: sure === "" ? null : Number(sure), request: crypto.randomUUID(),
    };
    const words = said === "skip" ? "Skipped." : said === "tie" ? "Saved: a tie."
      : said === "left" ? "Saved: response 1." : said === "right" ? "Saved: response 2." : "Saved: " + said + ".";
    take(await send("/judge", body), words);
  }

  async function undo() {
    if (busy) return;
    busy = true;
    take(await send("/undo", {request: crypto.randomUUID()}), "Undone: here it is again.");
  }

  async function load() {
    let found = null;
    try { found = await post("/question", {}); } catch { found = {status: 0, value: {}}; }
    if (found.status === 200) { show(found.value); return; }
    const idle = question === null && !at("done").hidden && found.status === 0;
    if (idle) tell("The page is not served for now: what is new will be shown when it is.");
    else tell(found.value.error || "The server does not answer. Trying again …", true);
    if (found.status !== 403) waiting = setTimeout(load, 2000);
  }

  for (let value = 1; value <= 10; value += 1) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.answer = value;
    button.textContent = value;
    at("rating").append(button);
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button === at("undo") || button === at("undo-last")) undo();
    else if (button) answer(button.closest("#rating") ? Number(button.dataset.answer) : button.dataset.answer);
  });
  at("keys").checked = localStorage.getItem("rlnlp-keys") !== "off";
  at("keys").addEventListener("change", () => localStorage.setItem("rlnlp-keys", at("keys").checked ? "on" : "off"));
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input[type=radio], summary");
    if (!at("keys").checked || event.repeat || event.ctrlKey || event.metaKey || event.altKey || typing) return;
    if (event.key === "u") { undo(); return; }
    if (question === null) return;
    const pair = question.responses.length === 2;
    const said = pair || event.key === "s" ? SHORTCUTS[event.key] : { "0": 10 }[event.key] || Number(event.key) || null;
    if (said) { event.preventDefault(); answer(said); }
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) hiddenSince = performance.now();
    else if (hiddenSince !== null) { hiddenFor += performance.now() - hiddenSince; hiddenSince = null; }
  });

  (async () => {
    const unsaved = localStorage.getItem(stored);
    if (unsaved === null) { load(); return; }
    busy = true;
    take(await send(...JSON.parse(unsaved)), "Saved: your last answer.");
  })();
})();
