/** Beside the picture: what is chosen, the targets, the buttons. */
import { deletePoint, deleteTarget, radiusOf, recategorize, setRadius, setSize } from "./edits.js";
import { button, element, fill } from "./elements.js";
import { saveMasks } from "./saving.js";
import {
  $,
  app,
  canRedo,
  canUndo,
  checkChosen,
  choose,
  color,
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
  if (!app.folder) return;
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
  fill($("targets"), ids, newRow, dressRow);
}

function newRow() {
  const words = ["name", "pixels", "sure"].map((className) => element("span", { className }));
  const choice = button("pick", {}, element("i", { className: "swatch" }), ...words);
  const row = element("li", {}, choice, ...["hide", "lock", "drop"].map((what) => button(`drop ${what}`)));
  const target = () => Number(row.dataset.target);
  const alone = () => (pointsOf(target()).length === 1 ? app.points.indexOf(firstOf(target())) : null);
  choice.onclick = () => choose(target(), alone());
  row.querySelector(".hide").onclick = () => toggle(app.hidden, target());
  row.querySelector(".lock").onclick = () => toggle(app.locked, target());
  row.querySelector(".drop:last-child").onclick = () => deleteTarget(target());
  return row;
}

const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const counted = (pixels) => (pixels < 1e5 ? pixels.toLocaleString("en") : short.format(pixels));

function dressRow(row, target) {
  const measured = app.labels?.targets.find((t) => t.target === target);
  const [choice, hide, lock, drop] = row.children;
  row.dataset.target = target;
  row.toggleAttribute("data-on", app.chosen?.target === target);
  choice.id = `pick-${target}`;
  choice.setAttribute("aria-pressed", app.chosen?.target === target);
  choice.querySelector(".swatch").style.background = `rgb(${color(target)})`;
  choice.title = title(target);
  choice
    .querySelector(".name")
    .replaceChildren(element("span", { textContent: firstOf(target).category }), ` ${target + 1}`);
  choice.querySelector(".pixels").textContent = measured ? `${counted(measured.pixels)} px` : "";
  choice.querySelector(".sure").textContent = measured ? `${Math.round(100 * measured.confidence)} %` : "";
  dressFlag(hide, "Hide", app.hidden.has(target), target, "\u25cc", "\u25cf");
  dressFlag(lock, "Lock", app.locked.has(target), target, "\u25a3", "\u25a2");
  dressFlag(drop, "Delete", false, target, "", "\u00d7");
}

function dressFlag(made, what, on, target, yes, no) {
  Object.assign(made, { id: `${what.toLowerCase()}-${target}`, textContent: on ? yes : no, title: what });
  made.setAttribute("aria-label", `${what} ${title(target)}`);
  made.setAttribute("aria-pressed", on);
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
