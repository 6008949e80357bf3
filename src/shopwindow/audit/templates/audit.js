"use strict";
const found = JSON.parse(document.getElementById("found").textContent);
const cards = found.cards;
const STORED = `shopwindow-audit:${found.key}`;
const element = (id) => document.getElementById(id);

// decisions: image -> {decision, label}; past: what each step replaced, for undo.
let state = { decisions: {}, past: [], at: 0 };

function restore() {
  try {
    const stored = JSON.parse(localStorage.getItem(STORED));
    if (stored && stored.decisions && Array.isArray(stored.past)) state = stored;
  } catch { /* Nothing was kept, or nothing can be; store() says so. */ }
  state.at = Math.max(0, Math.min(Number(state.at) || 0, cards.length - 1));
}

function store() {
  try {
    localStorage.setItem(STORED, JSON.stringify(state));
  } catch {
    element("kept").textContent = "This browser keeps nothing: download the decisions before you leave this page.";
    element("kept").classList.add("lost");
  }
}

function inWords(decision) {
  if (!decision) return "none yet";
  return { keep: "keep", drop: "left out", relabel: decision.label }[decision.decision];
}

function show() {
  const card = cards[state.at];
  element("picture").src = card.picture;
  element("picture").alt = `The image ${card.image}`;
  element("reference").textContent = card.image;
  element("reasons").replaceChildren(...card.reasons.map((reason) => {
    const item = document.createElement("li");
    item.textContent = reason;
    return item;
  }));
  element("given").textContent = card.given;
  element("suggests").textContent = card.doubted ? "Likelier" : "Likeliest other";
  element("suggested").textContent = element("take-label").textContent = card.suggested;
  element("decision").textContent = inWords(state.decisions[card.image]);
  element("label").value = element("problem").textContent = "";
  element("neighbours").replaceChildren(...card.neighbours.map((neighbour) => {
    const item = document.createElement("li");
    const image = document.createElement("img");
    image.src = found.pictures[neighbour.picture];
    image.alt = "";
    const label = document.createElement("span");
    label.textContent = neighbour.label;
    label.className = neighbour.label === card.given ? "" : "other";
    item.append(image, label);
    return item;
  }));
  const judged = cards.filter((each) => state.decisions[each.image]).length;
  element("progress").max = cards.length;
  element("progress").value = judged;
  element("count").textContent = `${judged} of ${cards.length} judged · image ${state.at + 1}`;
  element("back").disabled = state.at === 0;
  element("next").disabled = state.at === cards.length - 1;
  element("undo").disabled = !state.past.length;
  element("download").disabled = !judged;
}

function move(steps) {
  state.at = Math.max(0, Math.min(state.at + steps, cards.length - 1));
  store();
  show();
}

function decide(decision, label = "") {
  const image = cards[state.at].image;
  state.past.push({ at: state.at, image, before: state.decisions[image] || null });
  state.decisions[image] = { decision, label };
  move(1);
}

function undo() {
  const last = state.past.pop();
  if (!last) return;
  if (last.before) state.decisions[last.image] = last.before;
  else delete state.decisions[last.image];
  state.at = last.at;
  store();
  show();
}

function choose(event) {
  event.preventDefault();
  const label = element("label").value.trim();
  if (!found.labels.includes(label)) {
    element("problem").textContent = label ? `There is no label ${label}; choose one of the list.` : "Choose a label of the list.";
    return;
  }
  element("label").blur();
  decide(...(label === cards[state.at].given ? ["keep"] : ["relabel", label]));
}

function asTable() {
  const cell = (text) => (/[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const rows = cards.filter((card) => state.decisions[card.image]).map((card) => {
    const { decision, label } = state.decisions[card.image];
    return [card.image, decision, label].map(cell).join(",");
  });
  return ["image,decision,label", ...rows, ""].join("\n");
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([asTable()], { type: "text/csv" }));
  link.download = "decisions.csv";
  link.click();
  URL.revokeObjectURL(link.href);
}

const actions = {
  k: () => decide("keep"),
  s: () => decide("relabel", cards[state.at].suggested),
  d: () => decide("drop"),
  c: () => element("label").focus(),
  u: undo,
  arrowleft: () => move(-1),
  arrowright: () => move(1),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === element("label")) {
    if (event.key === "Escape") element("label").blur();
    return;
  }
  const action = actions[event.key.toLowerCase()];
  // A key that is held down moves on, but judges no image that nobody has seen.
  if (!action || (event.repeat && !event.key.startsWith("Arrow"))) return;
  event.preventDefault();
  action();
}

if (cards.length) {
  restore();
  for (const label of found.labels) element("labels").append(new Option(label));
  element("keep").addEventListener("click", actions.k);
  element("take").addEventListener("click", actions.s);
  element("drop").addEventListener("click", actions.d);
  element("undo").addEventListener("click", undo);
  element("back").addEventListener("click", actions.arrowleft);
  element("next").addEventListener("click", actions.arrowright);
  element("download").addEventListener("click", download);
  element("choose").addEventListener("submit", choose);
  document.addEventListener("keydown", onKey);
  element("judge").hidden = false;
  show();
} else {
  element("nothing").hidden = false;
}
