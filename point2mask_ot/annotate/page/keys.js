/** Keys. */

import { edit } from "./categories.js";
import { addPoint, deletePoint, movePoint, radiusOf, setRadius } from "./edits.js";
import { nextUntouched, step } from "./folder.js";
import { asItIs, develop, setOpacity, toggleBorders } from "./look.js";
import { mark } from "./marks.js";
import { brush, painting, resizeBrush } from "./paint.js";
import { held, setTool } from "./pointer.js";
import { saveMasks } from "./saving.js";
import { $, app, choose, inKeyOrder, leaveField, pick, redo, toggle, undo } from "./state.js";
import { cross, fit, moveCross, zoom } from "./view.js";

const stage = $("stage");
const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function arrow(event) {
  const [dx, dy] = arrows[event.key].map((way) => way * (event.shiftKey ? 10 : 1));
  const marker = document.activeElement.closest(".point");
  if (!marker) return moveCross(cross.x + dx, cross.y + dy);
  const index = Number(marker.dataset.index);
  const point = app.points[index];
  choose(point.target, index);
  movePoint(index, point.x + dx, point.y + dy, `key ${index}`);
}

function pickNumber(index) {
  const name = inKeyOrder()[index];
  if (name) pick(name);
}

function pickBeside(by) {
  const all = inKeyOrder().filter(Boolean);
  pick(all[(all.indexOf(app.category) + by + all.length) % all.length]);
}

function resize(times) {
  if (painting()) return resizeBrush(brush.radius * times);
  if (!app.chosen) return;
  const { width, height } = app.photo;
  setRadius(app.chosen.target, (radiusOf(app.chosen.target) ?? Math.min(width, height) / 20) * times, "resize");
}

const keys = {
  delete: () => app.chosen?.point != null && deletePoint(app.chosen.point),
  escape: () => choose(null),
  b: toggleBorders,
  "[": () => setOpacity(+$("opacity").value - 10),
  "]": () => setOpacity(+$("opacity").value + 10),
  "+": () => zoom(1.25),
  "=": () => zoom(1.25),
  "-": () => zoom(0.8),
  0: fit,
  n: () => step(1),
  p: () => step(-1),
  u: nextUntouched,
  d: () => mark("done"),
  s: () => mark("skipped"),
  v: () => setTool("point"),
  c: () => setTool("circle"),
  r: () => setTool("box"),
  g: () => setTool("hand"),
  f: () => setTool("brush"),
  e: () => setTool("eraser"),
  ",": () => pickBeside(-1),
  ".": () => pickBeside(1),
  "<": () => resize(1 / 1.1),
  ">": () => resize(1.1),
  h: () => app.chosen && toggle(app.hidden, app.chosen.target),
  l: () => app.chosen && toggle(app.locked, app.chosen.target),
  k: (event) => develop(event.shiftKey ? 1 / 1.2 : 1.2, 1),
  m: (event) => develop(1, event.shiftKey ? 1 / 1.2 : 1.2),
  o: asItIs,
  f2: edit,
  "?": () => $("help").showModal(),
};
keys.backspace = keys.delete;
const WITHOUT_PICTURE = ["n", "p", "u", "d", "s", "?"];
const commands = { s: saveMasks, y: redo, z: undo };

/** Of a key that a field of the page takes itself. */
const typing = (event) => event.target.matches("input:is([type=text], [type=search], [type=number]), select");

/** Enter and Escape leave a field, a slider and a list of choices, or all other keys would be dead; Enter adds, too. */
function leaving(event) {
  const ends = event.key === "Escape" || (event.key === "Enter" && !event.target.form);
  if (!ends || !(typing(event) || event.target.matches("input[type=range]"))) return false;
  leaveField(); // a number that was typed counts then
  return true;
}

let byPointer = false; // a field was taken by the pointer, and is left as soon as it has its value
document.addEventListener("pointerdown", (event) => {
  byPointer = event.target.matches?.("select, option, input[type=range]");
});
document.addEventListener("change", (event) => {
  if (byPointer && !document.querySelector("dialog[open]") && event.target.matches("select, input[type=range]"))
    leaveField();
});

function command(event, key) {
  const work = key === "z" && event.shiftKey ? redo : commands[key];
  if (!work || (key !== "s" && typing(event))) return;
  event.preventDefault();
  work();
}

function press(event, key) {
  const inPicture = event.target === stage || event.target.matches(".point");
  const digit = /^Digit([1-9])$/.exec(event.code)?.[1];
  if (event.key in arrows && inPicture) {
    event.preventDefault();
    arrow(event);
  } else if (key === " " && (inPicture || event.target === document.body)) {
    event.preventDefault();
    held.space = true;
  } else if (key === "enter" && event.target === stage) {
    addPoint(cross.x, cross.y, { extend: event.shiftKey });
  } else if (/^[1-9]$/.test(key) || digit) {
    pickNumber(event.shiftKey && digit ? 8 + Number(digit) : Number(digit ?? key) - 1);
  } else {
    if (!(event.repeat && "npuds".includes(key))) keys[key]?.(event);
  }
}

document.addEventListener("keydown", (event) => {
  if (!app.folder || event.altKey || document.querySelector("dialog[open]")) return;
  byPointer = false;
  if (event.key === "Tab" || event.key in arrows) stage.classList.add("keyed");
  if (leaving(event)) return;
  const key = event.key.toLowerCase();
  if (!app.photo && !WITHOUT_PICTURE.includes(key)) return;
  if (event.ctrlKey || event.metaKey) command(event, key);
  else if (!typing(event)) press(event, key);
});
document.addEventListener("keyup", (event) => {
  if (event.key === " ") held.space = false;
});
window.addEventListener("blur", () => {
  held.space = false;
});
