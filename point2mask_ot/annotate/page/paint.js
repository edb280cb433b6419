/** Brush and eraser: pixels that are a target's, or are not, whatever the masks would say. */
import { complain, hint } from "./server.js";
import { $, app, change, clamp, color, firstOf, on, title } from "./state.js";
import { view } from "./view.js";

const canvas = $("paint");
const pen = canvas.getContext("2d");
let marks = new Int16Array(0); // k + 1: target k's; -(k + 1): not; on the grid of the picture that is shown
let decoded = null; // what the marks were read from
export const brush = { radius: 12 }; // pixels of the screen, finer where one zooms in

export const painting = () => app.tool === "brush" || app.tool === "eraser";

// ---- Runs, as a points file has them -------------------------------------------------------------------------------------
function decode() {
  const { view_factor: factor, width, height } = app.photo;
  [canvas.width, canvas.height] = [Math.ceil(width / factor), Math.ceil(height / factor)];
  [canvas.style.width, canvas.style.height] = [`${canvas.width * factor}px`, `${canvas.height * factor}px`];
  marks = new Int16Array(canvas.width * canvas.height);
  decoded = app.paint;
  for (const { target, own = [], not = [] } of app.paint?.targets ?? []) {
    fill(own, target + 1);
    fill(not, -(target + 1));
  }
}

function fill(runs, value) {
  const { width: theirs, height } = app.paint;
  for (let k = 0; k < runs.length; k += 2) {
    if (theirs === canvas.width && height === canvas.height) marks.fill(value, runs[k], runs[k] + runs[k + 1]);
    else for (let at = runs[k]; at < runs[k] + runs[k + 1]; at++) stretch(at % theirs, Math.floor(at / theirs), value);
  }
}

/** A cell of a grid that another page, with another view of the picture, has painted on. */
function stretch(x, y, value) {
  const [across, down] = [canvas.width / app.paint.width, canvas.height / app.paint.height];
  for (let row = Math.floor(y * down); row < Math.ceil((y + 1) * down); row++) {
    const start = row * canvas.width;
    marks.fill(value, start + Math.floor(x * across), start + Math.ceil((x + 1) * across));
  }
}

function encode() {
  const found = new Map();
  for (let start = 0; start < marks.length; ) {
    const value = marks[start];
    let stop = start + 1;
    while (stop < marks.length && marks[stop] === value) stop++;
    if (value) {
      const target = Math.abs(value) - 1;
      if (!found.has(target)) found.set(target, { target, own: [], not: [] });
      found.get(target)[value > 0 ? "own" : "not"].push(start, stop - start);
    }
    start = stop;
  }
  return found.size ? { height: canvas.height, width: canvas.width, targets: [...found.values()] } : null;
}

// ---- Strokes -------------------------------------------------------------------------------------------------------------
/** A drag with the brush or the eraser, for the chosen target. */
export function stroking(from) {
  const target = app.chosen?.target;
  if (target === undefined || app.locked.has(target)) {
    complain(target === undefined ? "First select the target to paint." : "This target is locked (L).");
    return { move() {}, end() {} };
  }
  const value = app.tool === "brush" ? target + 1 : -(target + 1);
  const met = { points: pointsOfOthers(target), spared: new Set(), owners: new Set() };
  let last = onGrid(from);
  dab(last, last, value, met);
  return {
    move(now) {
      const to = onGrid(now);
      dab(last, to, value, met);
      last = to;
    },
    end() {
      const words = remark(target, value > 0, met);
      if (words) hint(words);
      change(() => {
        app.paint = encode();
        decoded = app.paint;
      });
    },
  };
}

const onGrid = ({ x, y }) => {
  const { view_factor: factor } = app.photo;
  return { x: (x - view.x) / view.scale / factor - 0.5, y: (y - view.y) / view.scale / factor - 0.5 };
};

/** The cells that points of other targets lie in, and whose they are: no brush takes them. */
function pointsOfOthers(target) {
  const { view_factor: factor } = app.photo;
  const cell = (value) => Math.floor(Math.floor(value + 0.5) / factor);
  const others = app.points.filter((point) => point.target !== target);
  return new Map(others.map((point) => [cell(point.y) * canvas.width + cell(point.x), point.target]));
}

/** Whose the masks say that a cell is; undefined for nobody's. */
function ownerOf(x, y) {
  if (!app.labels) return undefined;
  const { view_factor: factor } = app.photo;
  const at = (value, length) => Math.min(Math.floor(((value + 0.5) * factor) / app.labels.factor), length - 1);
  const index = at(y, app.labels.height) * app.labels.width + at(x, app.labels.width);
  return app.labels.targets[app.labels.owner[index]]?.target;
}

/** What a stroke did not do, though it may look as if. */
function remark(target, brushed, { spared, owners }) {
  const names = (set) => [...set].filter(firstOf).map(title).join(", ");
  if (brushed) return spared.size ? `The brush leaves the points of ${names(spared)} to them.` : "";
  if (!owners.size || owners.has(target)) return "";
  return `Nothing is erased: the eraser takes from ${title(target)} alone, and this is ${names(owners)}.`;
}

/** Mark every cell that is near a line, and note whom that meets. */
function dab(from, to, value, met) {
  const radius = Math.max(0.5, brush.radius / view.scale / app.photo.view_factor);
  const [across, down] = ["x", "y"].map((axis) => [Math.min(from[axis], to[axis]), Math.max(from[axis], to[axis])]);
  const [left, right] = [
    Math.max(0, Math.ceil(across[0] - radius)),
    Math.min(canvas.width - 1, Math.floor(across[1] + radius)),
  ];
  const [top, bottom] = [
    Math.max(0, Math.ceil(down[0] - radius)),
    Math.min(canvas.height - 1, Math.floor(down[1] + radius)),
  ];
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const square = dx * dx + dy * dy || 1;
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const along = clamp(((x - from.x) * dx + (y - from.y) * dy) / square, 0, 1);
      if ((x - from.x - along * dx) ** 2 + (y - from.y - along * dy) ** 2 <= radius * radius) {
        const at = y * canvas.width + x;
        if (value > 0 && met.points.has(at)) met.spared.add(met.points.get(at));
        else marks[at] = value;
        if (value < 0 && ownerOf(x, y) !== undefined) met.owners.add(ownerOf(x, y));
      }
    }
  }
  draw(left, top, right + 1 - left, bottom + 1 - top);
}

/** Take away all that is painted of the chosen target. */
export function wipe() {
  const target = app.chosen?.target;
  if (target === undefined || !app.paint) return;
  change(() => dropPaint(target));
}

export function dropPaint(target, becomes = null) {
  if (!app.paint) return;
  const kept = app.paint.targets.filter((entry) => entry.target !== target || becomes !== null);
  const moved = kept.map((entry) => (entry.target === target ? { ...entry, target: becomes } : entry));
  app.paint = moved.length ? { ...app.paint, targets: moved } : null;
}

// ---- How it is shown -----------------------------------------------------------------------------------------------------
function draw(x, y, width, height) {
  if (width <= 0 || height <= 0) return;
  const image = pen.createImageData(width, height);
  for (let row = 0, at = 0; row < height; row++) {
    for (let column = 0; column < width; column++, at += 4) {
      const mark = marks[(y + row) * canvas.width + x + column];
      if (!mark) continue;
      const dots = mark > 0 || (row + y + column + x) % 4 < 2; // what is erased is hatched
      image.data.set(dots ? [...color(Math.abs(mark) - 1), mark > 0 ? 190 : 230] : [255, 255, 255, 200], at);
    }
  }
  pen.putImageData(image, x, y);
}

function render() {
  if (!app.photo) return;
  for (const { target } of app.paint?.targets ?? []) if (!firstOf(target)) dropPaint(target);
  canvas.hidden = !painting();
  if (decoded !== app.paint || !marks.length) decode();
  if (painting()) draw(0, 0, canvas.width, canvas.height);
  $("brush-size").hidden = !painting();
  $("radius-of-brush").value = brush.radius;
}

export function resizeBrush(radius) {
  brush.radius = clamp(radius, 1, 200);
  $("radius-of-brush").value = brush.radius;
  showBrush();
}

let pointer = { x: 0, y: 0 };
/** The ring that follows the pointer. */
export function showBrush(at = pointer) {
  pointer = at;
  const across = 2 * brush.radius;
  Object.assign($("brush").style, { left: `${at.x}px`, top: `${at.y}px`, width: `${across}px`, height: `${across}px` });
  $("brush").hidden = !painting();
}

on("picture", () => {
  marks = new Int16Array(0);
});
on("points picture tool", render);
on("view tool", showBrush);
$("radius-of-brush").oninput = (event) => resizeBrush(Number(event.target.value));
$("wipe").onclick = wipe;
