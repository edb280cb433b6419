/** The pointer on the picture: a click sets a point, a drag says how large its target is, two fingers zoom. */
import { addPoint, deletePoint, movePoint, radiusOf, setRadius, setSize } from "./edits.js";
import { button, element } from "./elements.js";
import { painting, showBrush, stroking } from "./paint.js";
import { $, app, choose, dragging, emit, firstOf } from "./state.js";
import { inStage, makeWith, pan, toPixel, view, zoom } from "./view.js";

const STILL = 5; // pixels on the screen that a click may move
const FILL = 0.8; // of a box, an object
const stage = $("stage");
const down = new Map();
let travelled = 0;
let pinched = false;
let gesture = null; // what a drag of one pointer does: {move(event), end()}

export const held = { space: false };

export function setTool(tool) {
  app.tool = tool;
  stage.dataset.tool = tool;
  for (const one of $("tools").querySelectorAll("button")) one.setAttribute("aria-pressed", one.dataset.tool === tool);
  emit("tool");
}

/** What begins where the pointer went down. */
function begin(event, at) {
  const touched = event.pointerType === "touch" && app.tool === "point";
  if (event.button !== 0 || held.space || app.tool === "hand" || touched) return panning(at);
  if (painting()) return stroking(at);
  return event.shiftKey || app.tool === "box" ? boxing(at) : circling(at);
}

function panning(from) {
  let last = from;
  stage.classList.add("panning");
  return {
    move(now) {
      pan(now.x - last.x, now.y - last.y);
      last = now;
    },
    end: () => stage.classList.remove("panning"),
  };
}

const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);

/** A new point, and a circle about it. */
function circling(from) {
  const tag = `drag ${Date.now()}`;
  const made = addPoint(...toPixel(from), { tag });
  return circleOf(made ? app.chosen.target : null, from, tag);
}

function circleOf(target, from, tag) {
  return {
    move(now) {
      dragging();
      if (target !== null) setRadius(target, Math.max(1, distance(from, now) / view.scale), tag);
    },
    end() {},
  };
}

/** A point in the middle of a box, whose target fills most of it. */
function boxing(from) {
  const box = $("box");
  let to = from;
  return {
    move(now) {
      to = now;
      const [left, top] = [Math.min(from.x, to.x), Math.min(from.y, to.y)];
      Object.assign(box.style, { left: `${left}px`, top: `${top}px` });
      Object.assign(box.style, { width: `${Math.abs(to.x - from.x)}px`, height: `${Math.abs(to.y - from.y)}px` });
      box.hidden = false;
    },
    end() {
      box.hidden = true;
      const tag = `box ${Date.now()}`;
      const middle = toPixel({ x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 });
      if (!addPoint(...middle, { tag })) return;
      const area = Math.abs((to.x - from.x) * (to.y - from.y)) / view.scale ** 2;
      setSize(app.chosen.target, FILL * area, tag);
    },
  };
}

stage.addEventListener("pointerdown", (event) => {
  stage.classList.remove("keyed");
  if (event.target.closest(".point, .handle") || !app.photo) return;
  if (!down.size) [travelled, pinched, gesture] = [0, false, null];
  down.set(event.pointerId, { ...inStage(event), first: event });
  pinched ||= down.size > 1;
  stage.setPointerCapture(event.pointerId);
});

stage.addEventListener("pointermove", (event) => {
  if (painting()) showBrush(inStage(event));
  const before = down.get(event.pointerId);
  if (!before) return;
  const now = inStage(event);
  const others = [...down].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
  if (others.length) {
    const [other] = others;
    zoom(Math.max(1, distance(now, other)) / Math.max(1, distance(before, other)), other.x, other.y);
    Object.assign(before, now);
    return;
  }
  travelled = Math.max(travelled, distance(now, before));
  if (travelled < STILL || pinched) return;
  gesture ??= begin(before.first, before);
  gesture.move(now);
});

function lift(event) {
  if (!down.delete(event.pointerId) || down.size) return;
  const still = event.type === "pointerup" && !gesture && !pinched && event.button === 0;
  if (still && painting()) gesture = begin(event, inStage(event));
  gesture?.end();
  gesture = null;
  if (still && !painting() && app.tool !== "hand" && !held.space)
    addPoint(...toPixel(inStage(event)), { extend: event.shiftKey });
}
stage.addEventListener("pointerup", lift);
stage.addEventListener("pointercancel", lift);
stage.addEventListener("contextmenu", (event) => event.preventDefault());
stage.addEventListener(
  "wheel",
  (event) => {
    event.preventDefault();
    const { x, y } = inStage(event);
    const lines = event.deltaMode === 1 ? 30 : 1;
    if (app.photo) zoom(Math.exp(-Math.min(Math.max(event.deltaY * lines, -300), 300) / 500), x, y);
  },
  { passive: false },
);

// ---- Points and the handles of rough circles ---------------------------------------------------------------------------
/** Have a drag of an element do what `start` gives, from where it began. */
function draggable(element, start) {
  let from = null;
  element.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    from = { at: inStage(event), moved: false, work: start(event) };
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => {
    if (!from) return;
    const now = inStage(event);
    from.moved ||= distance(now, from.at) > 3;
    if (!from.moved) return;
    dragging();
    from.work.move(now);
  });
  const end = () => {
    from = null;
  };
  element.addEventListener("pointerup", end);
  element.addEventListener("pointercancel", end);
}

function newMarker() {
  const marker = button("point");
  const index = () => Number(marker.dataset.index);
  draggable(marker, (event) => {
    const [at, point, tag] = [inStage(event), app.points[index()], `drag ${Date.now()}`];
    const [x, y] = [point.x, point.y];
    choose(point.target, index());
    if (event.altKey || app.tool === "circle") return circleOf(point.target, at, tag);
    const moved = (now, was) => Math.round((now - was) / view.scale);
    return { move: (now) => movePoint(index(), x + moved(now.x, at.x), y + moved(now.y, at.y), tag) };
  });
  marker.onclick = () => choose(app.points[index()].target, index()); // from the keyboard, too
  marker.oncontextmenu = (event) => {
    event.preventDefault();
    deletePoint(index());
  };
  return marker;
}

function newRing() {
  const ring = element("div", { className: "ring" });
  const handle = button("handle", { tabIndex: -1, ariaLabel: "Change the rough circle" });
  const target = () => Number(ring.dataset.target);
  draggable(handle, (event) => {
    const [at, tag, before] = [inStage(event), `ring ${Date.now()}`, radiusOf(target())];
    const { x, y } = firstOf(target());
    const middle = { x: view.x + (x + 0.5) * view.scale, y: view.y + (y + 0.5) * view.scale };
    const grip = before - distance(at, middle) / view.scale; // the handle is not taken at its very middle
    return { move: (now) => setRadius(target(), Math.max(1, distance(now, middle) / view.scale + grip), tag) };
  });
  ring.append(handle);
  return ring;
}

makeWith({ marker: newMarker, ring: newRing });
for (const one of $("tools").querySelectorAll("button")) one.onclick = () => setTool(one.dataset.tool);
setTool("point");
