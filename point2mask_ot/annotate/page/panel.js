/** Beside the picture: what is chosen, the targets, the buttons. */
import { deletePoint, deleteTarget, radiusOf, recategorize, setRadius, setSize } from "./edits.js";
import { button, element, swatch } from "./elements.js";
import { saveMasks } from "./saving.js";
import {
  $,
  app,
  canRedo,
  canUndo,
  checkChosen,
  choose,
  firstOf,
  on,
  pointsOf,
  redo,
  targets,
  title,
  toggle,
  undo,
} from "./state.js";

function render() {
  if (!app.photo) return;
  checkChosen();
  $("undo").disabled = !canUndo();
  $("redo").disabled = !canRedo();
  renderSelection();
  renderTargets();
}

function renderSelection() {
  const { chosen } = app;
  $("selection").hidden = !chosen;
  if (!chosen) return;
  const own = pointsOf(chosen.target);
  const point = app.points[chosen.point];
  $("selected-name").replaceChildren(title(chosen.target));
  $("selected-point").textContent = point
    ? `point ${own.indexOf(point) + 1} of ${own.length}, x ${point.x}, y ${point.y}`
    : `${own.length} ${own.length === 1 ? "point" : "points"}`;
  $("delete-point").disabled = !point;
  const radius = radiusOf(chosen.target);
  if (document.activeElement !== $("radius")) $("radius").value = radius ? radius.toFixed(1) : "";
  $("no-radius").disabled = !radius;
  const option = (c) => element("option", { value: c.name, textContent: c.name, selected: c.name === own[0].category });
  $("selected-category").replaceChildren(...app.folder.categories.map(option));
}

function renderTargets() {
  const ids = targets();
  $("no-targets").hidden = ids.length > 0;
  $("columns").hidden = !ids.length;
  $("targets-title").textContent = ids.length ? `Targets (${ids.length})` : "Targets";
  const focused = document.activeElement?.id;
  $("targets").replaceChildren(...ids.map(targetRow));
  if (/^(pick|hide|lock|drop)-/.test(focused)) $(focused)?.focus();
}

function targetRow(target) {
  const measured = app.labels?.targets.find((t) => t.target === target);
  const pixels = measured ? `${measured.pixels.toLocaleString("en")} px` : "";
  const sure = measured ? `${Math.round(100 * measured.confidence)} %` : "";
  const words = [element("span", { className: "name", textContent: title(target), title: title(target) })];
  words.push(element("small", { textContent: pixels }), element("small", { textContent: sure }));
  const choice = button("pick", { id: `pick-${target}` }, swatch(target), ...words);
  choice.setAttribute("aria-pressed", app.chosen?.target === target);
  choice.onclick = () => choose(target, pointsOf(target).length === 1 ? app.points.indexOf(firstOf(target)) : null);
  const hide = flag(target, app.hidden, "hide", "\u25cc", "\u25cf");
  const lock = flag(target, app.locked, "lock", "\u25a3", "\u25a2");
  const drop = button("drop", { id: `drop-${target}`, textContent: "\u00d7" });
  drop.setAttribute("aria-label", `Delete ${title(target)}`);
  drop.onclick = () => deleteTarget(target);
  const row = element("li", {}, choice, hide, lock, drop);
  if (app.chosen?.target === target) row.dataset.on = "";
  return row;
}

/** A button that hides or locks a target, and back. */
function flag(target, set, what, yes, no) {
  const made = button("drop", { id: `${what}-${target}`, textContent: set.has(target) ? yes : no });
  made.title = { hide: "Hide (H)", lock: "Lock (L)" }[what];
  made.setAttribute("aria-label", `${made.title.split(" ")[0]} ${title(target)}`);
  made.setAttribute("aria-pressed", set.has(target));
  made.onclick = () => toggle(set, target);
  return made;
}

on("points look labels folder picture", render);
$("undo").onclick = undo;
$("redo").onclick = redo;
$("save").onclick = saveMasks;
$("delete-point").onclick = () => deletePoint(app.chosen.point);
$("delete-target").onclick = () => deleteTarget(app.chosen.target);
$("selected-category").onchange = (event) => recategorize(app.chosen.target, event.target.value);
$("radius").onchange = (event) => {
  const radius = Number(event.target.value);
  if (radius > 0) setRadius(app.chosen.target, radius);
  else setSize(app.chosen.target, null);
};
$("no-radius").onclick = () => setSize(app.chosen.target, null);
$("show-help").onclick = () => $("help").showModal();
