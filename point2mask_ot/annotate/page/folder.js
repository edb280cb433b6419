/** The pictures of the folder: the list, which one is open, and what has become of each. */
import { element } from "./elements.js";
import { relabel } from "./labels.js";
import { autosave, finished, read, savedVersion, settle } from "./saving.js";
import { ask, complain, notify, say, viewOf } from "./server.js";
import { $, app, emit, keepSteps, on, pick, recallSteps, replacePoints, stepsOf } from "./state.js";
import { cross, fit } from "./view.js";

const ROW = 30; // pixels of a row, as page.css has it
const TAIL = 10; // letters of a name that are never left out
const REFRESH = 15000; // ms, after which one sees what others have done
const AHEAD = 10; // rows drawn beyond what is seen
const MARKS = { untouched: "\u00a0", begun: "\u25d0", done: "\u2713", skipped: "\u2013" };
export const CHOOSE = "Choose a picture of the list.";
let listed = []; // indices of the pictures that the search leaves
let queue = Promise.resolve(); // of what goes through the folder
const damaged = new Set(); // names of pictures that could not be opened: keys pass them over, a click tries again
let ahead = null; // {name, image}: the picture that comes next, on its way before it is asked for

export const here = () => app.folder.pictures.indexOf(app.photo?.name ?? app.broken);

// ---- Opening -------------------------------------------------------------------------------------------------------------
/** One thing after the other: a key that is pressed while a picture is on its way is for that picture. */
export const queued =
  (work) =>
  (...given) => {
    queue = queue.then(() => work(...given)).catch((error) => complain(error.message));
    return queue;
  };

/** Show a picture, once all of the one before is saved; whether one should go on to another, since it is damaged. */
async function go(name) {
  if (app.photo && !(await settle())) return say("This picture is not saved yet.");
  const slow = setTimeout(() => say(`Opening ${name}.`), 300);
  try {
    const [state, image] = await Promise.all([ask("state", { name }), loaded(name)]);
    if (app.photo && !(await settle())) return say("This picture is not saved yet."); // changed meanwhile
    damaged.delete(name);
    show(state, image);
  } catch (error) {
    complain(`${name}: ${error.message}`);
    say("It could not be opened.");
    if (!error.status) return; // the server is gone
    damaged.add(name);
    emit("folder");
    return true;
  } finally {
    clearTimeout(slow);
  }
}

async function loaded(name) {
  const image = ahead?.name === name ? ahead.image : Object.assign(new Image(), { src: viewOf(name) });
  await image.decode().catch(() => null); // the state says in words what is wrong
  return image;
}

function show(found, image) {
  if (app.photo) keepSteps(app.photo.name, savedVersion());
  const kept = stepsOf(found.name, found.version);
  const state = kept ? { ...found, points: kept.points, paint: kept.paint } : found;
  replacePoints(state, { undoable: false });
  if (kept) recallSteps(kept);
  read(state);
  [app.labels, app.broken, $("world").hidden] = [null, null, false];
  image.id = "photo";
  image.alt = state.name;
  image.draggable = false;
  $("photo").replaceWith(image);
  const { width, height, view_factor: factor } = state;
  [image.style.width, image.style.height] = [`${image.naturalWidth * factor}px`, `${image.naturalHeight * factor}px`];
  [$("world").style.width, $("world").style.height] = [`${width}px`, `${height}px`];
  [cross.x, cross.y] = [width >> 1, height >> 1];
  $("name").textContent = state.name;
  $("size").textContent = `${width} \u00d7 ${height}`;
  const { category } = app;
  history.replaceState({ category }, "", `#${encodeURIComponent(state.name)}`);
  pick(category || (history.state?.category ?? ""));
  fit();
  complain("");
  notify("");
  say(state.resumed ? `Goes on from ${state.resumed}.` : "Click on the picture to set a point.");
  emit("picture");
  autosave();
  if (app.points.length) relabel().then(prefetch);
  else prefetch();
}

/** In the place of a picture that was asked for by name and cannot be opened: what follows is about it, and no other. */
function showBroken(name) {
  if (app.photo) keepSteps(app.photo.name, savedVersion());
  const { pictures, states } = app.folder;
  const inside = pictures.includes(name);
  const state = inside ? states[pictures.indexOf(name)] : "untouched";
  [app.photo, app.broken, app.labels, app.state] = [null, name, null, state];
  replacePoints({ points: [], paint: null }, { undoable: false });
  $("world").hidden = true;
  $("name").textContent = name;
  $("size").textContent = inside ? "cannot be opened" : "not in the list";
  history.replaceState({ category: app.category }, "", `#${encodeURIComponent(name)}`);
  pick(app.category);
  say(inside ? "S skips this picture, N goes on to the next." : CHOOSE);
  emit("picture");
  autosave();
}

/** Have the server open the picture that comes next, and the browser load it. */
function prefetch() {
  const next = app.folder.pictures[here() + 1];
  if (next === undefined || ahead?.name === next) return;
  ahead = { name: next, image: Object.assign(new Image(), { src: viewOf(next) }) };
}

// ---- Going through the folder ----------------------------------------------------------------------------------------
export const open = queued(async (name) => {
  if (await go(name)) showBroken(name);
});

/** Go to what is found, past pictures that cannot be opened; where there is none, `none` says so. */
export async function goOn(find, none) {
  const passed = [];
  let name = find();
  while (name !== undefined && (await go(name))) {
    passed.push(name);
    name = find();
  }
  const words = passed.length ? [`Passed over ${passed.join(", ")}, which could not be opened.`] : [];
  if (name === undefined) words.push(none());
  if (words.length) say(words.join(" "));
}

/** The first picture that is not finished, or any. */
export const begin = queued(() => {
  const { pictures, states } = app.folder;
  const names = [...pictures.filter((_, k) => !finished(states[k])), ...pictures];
  return goOn(
    () => names.find((name) => !damaged.has(name)),
    () => "No picture could be opened.",
  );
});

/** The picture so many rows on. */
export function beside(by) {
  const { pictures } = app.folder;
  const whole = listed.filter((k) => k === here() || !damaged.has(pictures[k]));
  const at = whole.indexOf(here());
  return pictures[at < 0 ? whole[0] : whole[at + by]];
}

export const step = queued((by) =>
  goOn(
    () => beside(by),
    () => (by > 0 ? "This is the last picture." : "This is the first picture."),
  ),
);

/** The next picture, round the end of the folder, whose state passes. */
export function nextWhere(passes) {
  const { pictures, states } = app.folder;
  const from = here();
  const fits = (k) => k !== from && passes(states[k]) && !damaged.has(pictures[k]);
  return pictures[pictures.map((_, k) => (from + 1 + k) % pictures.length).find(fits)];
}

export const nextUntouched = queued(() =>
  goOn(
    () => nextWhere((state) => state === "untouched"),
    () => "No picture is untouched.",
  ),
);

/** What others have done meanwhile. */
export async function refresh() {
  if (!app.folder || app.folder.alone) return;
  const found = await ask("folder").catch(() => null);
  if (!found) return;
  Object.assign(app.folder, { states: found.states, pictures: found.pictures });
  emit("folder");
}

// ---- The list ------------------------------------------------------------------------------------------------------------
/** Without case, and an accent is the same letter in both its spellings. */
const folded = (text) => text.normalize("NFC").toLowerCase();

function search() {
  const words = folded($("search").value.trim()).split(/\s+/);
  const state = $("filter").value;
  const { pictures, states } = app.folder;
  const fits = (k) => (!state || states[k] === state) && words.every((w) => folded(pictures[k]).includes(w));
  listed = [...pictures.keys()].filter(fits);
}

function render() {
  const { alone, pictures, states } = app.folder;
  for (const id of ["folder", "finish"]) $(id).hidden = alone;
  document.body.classList.toggle("many", !alone);
  if (alone) return;
  search();
  const done = states.filter((s) => s === "done").length;
  const skipped = states.filter((s) => s === "skipped").length;
  $("count").textContent = `${done} of ${pictures.length} done${skipped ? `, ${skipped} skipped` : ""}`;
  $("bar").value = (done + skipped) / pictures.length;
  $("done").setAttribute("aria-pressed", app.state === "done");
  $("skip").setAttribute("aria-pressed", app.state === "skipped");
  renderRows();
}

/** The rows in sight alone: a folder may have ten thousand. */
function renderRows() {
  const list = $("list");
  const first = Math.max(0, Math.floor(list.scrollTop / ROW) - AHEAD);
  const shown = listed.slice(first, first + Math.ceil(list.clientHeight / ROW) + 2 * AHEAD);
  $("rows").style.height = `${listed.length * ROW}px`;
  const none = element("p", { className: "soft", textContent: "No picture" });
  $("rows").replaceChildren(...(listed.length ? shown.map((k, at) => row(k, first + at)) : [none]));
}

function row(k, at) {
  const name = app.folder.pictures[k];
  // A name that is too long loses its middle: numbers stand at the end.
  const parts = [name.slice(0, -TAIL), name.slice(-TAIL)].map((textContent) => element("span", { textContent }));
  const made = element("div", { className: "picture", title: name }, ...parts);
  const state = app.folder.states[k];
  made.style.top = `${at * ROW}px`;
  made.dataset.state = state;
  made.dataset.mark = damaged.has(name) ? "!" : MARKS[state];
  made.setAttribute("role", "option");
  made.setAttribute("aria-selected", k === here());
  made.setAttribute("aria-label", `${name}, ${damaged.has(name) ? "could not be opened" : state}`);
  made.onclick = () => open(name);
  return made;
}

function scrollToHere() {
  const list = $("list");
  const top = listed.indexOf(here()) * ROW;
  if (top < list.scrollTop || top + ROW > list.scrollTop + list.clientHeight)
    list.scrollTop = top - list.clientHeight / 2;
  renderRows();
}

function saved() {
  if (here() >= 0) app.folder.states[here()] = app.state;
  render();
}

on("folder saved", saved);
on("picture", () => {
  saved();
  scrollToHere();
});
$("list").addEventListener("scroll", renderRows);
new ResizeObserver(() => app.folder && renderRows()).observe($("list"));
$("search").oninput = render;
$("filter").onchange = render;
$("previous").onclick = () => step(-1);
$("next").onclick = () => step(1);
$("next-untouched").onclick = nextUntouched;
const look = () => document.visibilityState === "visible" && refresh();
document.addEventListener("visibilitychange", look);
setInterval(look, REFRESH);
