/** Everything beside the picture: categories, what is chosen, the targets. */
import { deletePoint, deleteTarget, radiusOf, recategorize, setRadius, setSize } from "./edits.js";
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
  pick,
  pointsOf,
  redo,
  targets,
  title,
  undo,
} from "./state.js";

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function swatch(target) {
  const made = element("i", { className: "swatch" });
  made.style.background = `rgb(${color(target)})`;
  return made;
}

function render() {
  if (!app.photo) return;
  checkChosen();
  $("undo").disabled = !canUndo();
  $("redo").disabled = !canRedo();
  renderCategories();
  renderSelection();
  renderTargets();
}

/** The key of a category: 1 to 9, then with Shift. */
const keyOf = (index) => (index < 9 ? `${index + 1}` : index < 18 ? `\u21e7${index - 8}` : null);

function renderCategories() {
  const key = JSON.stringify([app.folder.categories, app.category]);
  if ($("categories").dataset.key === key) return;
  const focused = $("categories").contains(document.activeElement);
  const rows = app.folder.categories.map((c, index) => {
    const radio = element("input", {
      type: "radio",
      name: "category",
      value: c.name,
      checked: c.name === app.category,
    });
    radio.onchange = () => pick(c.name);
    const keys = keyOf(index) ? [element("kbd", { textContent: keyOf(index) })] : [];
    const kind = element("small", { textContent: c.isthing ? "thing" : "stuff" });
    return element("label", {}, radio, element("span", { textContent: c.name }), kind, ...keys);
  });
  $("categories").replaceChildren($("categories").firstElementChild, ...rows);
  $("categories").dataset.key = key;
  if (focused) $("categories").querySelector(":checked")?.focus();
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
  if (/^(pick|drop)-/.test(focused)) $(focused)?.focus();
}

function targetRow(target) {
  const measured = app.labels?.targets.find((t) => t.target === target);
  const pixels = measured ? `${measured.pixels.toLocaleString("en")} px` : "";
  const sure = measured ? `${Math.round(100 * measured.confidence)} %` : "";
  const words = [element("span", { className: "name", textContent: title(target) })];
  words.push(element("small", { textContent: pixels }), element("small", { textContent: sure }));
  const choice = element(
    "button",
    { type: "button", className: "pick", id: `pick-${target}` },
    swatch(target),
    ...words,
  );
  choice.setAttribute("aria-pressed", app.chosen?.target === target);
  choice.onclick = () => choose(target, pointsOf(target).length === 1 ? app.points.indexOf(firstOf(target)) : null);
  const drop = element("button", { type: "button", className: "drop", id: `drop-${target}`, textContent: "\u00d7" });
  drop.setAttribute("aria-label", `Delete ${title(target)}`);
  drop.onclick = () => deleteTarget(target);
  const row = element("li", {}, choice, drop);
  if (app.chosen?.target === target) row.dataset.on = "";
  return row;
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
