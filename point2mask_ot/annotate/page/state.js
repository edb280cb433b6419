/** What is on the page: the picture, its points, and what has been done to them. Who shows it listens to it. */

export const $ = (id) => document.getElementById(id);
/** Back to the picture, where keys are heard. */
export const leaveField = () => $("stage").focus({ preventScroll: true });
export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

export const app = {
  folder: null, // what the server said of the folder
  photo: null, // and of the picture
  broken: null, // name of the picture in its place that cannot be opened
  points: [], // as a points file has them
  paint: null, // and what is painted
  state: "untouched",
  category: "", // name, of the next point; survives a reload
  chosen: null, // {target, point}: point is an index or null
  hidden: new Set(), // targets whose masks and points are not shown
  locked: new Set(), // targets that do not change
  labels: null, // last answer of the server, with owner: Int16Array of target indices
  tool: "point",
};

const listeners = new Map();
/** Have `work` done after an event: "points", "look" (what is chosen), "labels", "view", "picture", "folder". */
export function on(events, work) {
  for (const event of events.split(" ")) listeners.set(event, [...(listeners.get(event) ?? []), work]);
}
export function emit(event) {
  for (const work of listeners.get(event) ?? []) work();
}

export const categoryOf = (name) => app.folder.categories.find((c) => c.name === name);
export const pointsOf = (target) => app.points.filter((p) => p.target === target);
export const firstOf = (target) => app.points.find((p) => p.target === target);
export const targets = () => [...new Set(app.points.map((p) => p.target))];
export const title = (target) => `${firstOf(target).category} ${target + 1}`;

export function color(target) {
  const name = firstOf(target)?.category;
  const kind = categoryOf(name);
  if (kind?.color) return kind.color;
  const { thing_colors: things, stuff_colors: stuff } = app.folder;
  if (!kind || kind.isthing) return things[target % things.length];
  return stuff[app.folder.categories.filter((c) => !c.isthing).indexOf(kind) % stuff.length];
}

// ---- Changes, undone and done again ----------------------------------------------------------------------------------
let past = [];
let future = [];
let lastTag = null;
let lastTime = 0;

const snapshot = () => JSON.stringify([app.points, app.paint]);
export const canUndo = () => past.length > 0;
export const canRedo = () => future.length > 0;

/** Change the points in a way that can be undone; changes with one tag in quick succession are undone as one. */
export function change(edit, tag = null) {
  const before = snapshot();
  const now = Date.now();
  edit();
  if (snapshot() === before) return;
  if (tag === null || tag !== lastTag || now - lastTime > 1000) past.push(before);
  [lastTag, lastTime, future] = [tag, now, []];
  emit("edit");
  emit("points");
}

/** However slow, a drag is one step to undo. */
export function dragging() {
  lastTime = Date.now();
}

function travel(from, to) {
  if (!from.length) return;
  to.push(snapshot());
  [app.points, app.paint] = JSON.parse(from.pop());
  lastTag = null;
  choose(null);
  emit("edit");
  emit("points");
}
export const undo = () => travel(past, future);
export const redo = () => travel(future, past);

/** Replace all points by others of the same picture, or begin with another picture's. */
export function replacePoints({ points, paint }, { undoable }) {
  past = undoable ? [...past, snapshot()] : [];
  [app.points, app.paint, future, lastTag, app.chosen] = [points, paint, [], null, null];
  if (!undoable) for (const set of [app.hidden, app.locked]) set.clear();
}

const ROOM = 20; // pictures whose steps are kept
const left = new Map();
/** Keep the steps of a picture that is left, with the points as they stand here. */
export function keepSteps(name, version) {
  left.delete(name);
  left.set(name, { version, points: app.points, paint: app.paint, past, future });
  if (left.size > ROOM) left.delete(left.keys().next().value);
}
/** What was kept of a picture, if its file has not changed since. */
export const stepsOf = (name, version) => (left.get(name)?.version === version ? left.get(name) : null);
export function recallSteps(kept) {
  [past, future] = [kept.past, kept.future];
}
/** Of all pictures, whose categories may be called otherwise now. */
export const forgetSteps = () => left.clear();

// ---- Keys of categories ------------------------------------------------------------------------------------------------
let keyed = []; // names by their key, null where one has gone

/** Names of the categories in the order of their keys: first that of their ids, and while the page is open as they were. */
export function inKeyOrder() {
  keyed = keyed.map((name) => (categoryOf(name) ? name : null));
  for (const { name } of [...app.folder.categories].sort((a, b) => a.id - b.id)) {
    if (keyed.includes(name)) continue;
    const free = keyed.indexOf(null);
    keyed[free < 0 ? keyed.length : free] = name;
  }
  return keyed;
}

/** A category keeps its key under another name. */
export function renameKey(name, to) {
  keyed = keyed.map((one) => (one === name ? to : one));
}

// ---- What is chosen ----------------------------------------------------------------------------------------------------
export function pick(name) {
  app.category = (categoryOf(name) ?? app.folder.categories[0]).name;
  history.replaceState({ category: app.category }, "");
  emit("look");
}

/** Hide or lock a target, or show or free it. */
export function toggle(set, target) {
  if (!set.delete(target)) set.add(target);
  emit("look");
  emit("labels");
}

export function choose(target, point = null) {
  if (target === null || target !== app.chosen?.target) $("extend").checked = false;
  app.chosen = target === null ? null : { target, point };
  emit("look");
}

/** What was chosen, hidden or locked may be gone. */
export function checkChosen() {
  const { chosen } = app;
  for (const set of [app.hidden, app.locked]) for (const target of set) if (!firstOf(target)) set.delete(target);
  if (chosen && !firstOf(chosen.target)) app.chosen = null;
  else if (chosen && app.points[chosen.point]?.target !== chosen.target) chosen.point = null;
}
