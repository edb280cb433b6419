/** Zoom and pan, the masks, and what lies on the picture: points and rough circles. */
import { radiusOf } from "./edits.js";
import { fill } from "./elements.js";
import { $, app, clamp, color, emit, firstOf, on, targets, title } from "./state.js";

const stage = $("stage");
const overlay = $("overlay");
const pen = overlay.getContext("2d");
export const view = { x: 0, y: 0, scale: 1, fitted: true };
export const cross = { x: 0, y: 0 };

// ---- Zoom and pan ------------------------------------------------------------------------------------------------------
const fitScale = () => Math.min(stage.clientWidth / app.photo.width, stage.clientHeight / app.photo.height) * 0.96;

export function fit() {
  if (!app.photo) return;
  const { width, height } = app.photo;
  const scale = fitScale();
  const [x, y] = [(stage.clientWidth - width * scale) / 2, (stage.clientHeight - height * scale) / 2];
  Object.assign(view, { scale, x, y, fitted: true });
  place();
}

/** Some of the picture stays in sight. */
export function pan(dx, dy) {
  const edge = 40;
  const [width, height] = [app.photo.width * view.scale, app.photo.height * view.scale];
  view.fitted = false;
  view.x = clamp(view.x + dx, edge - width, stage.clientWidth - edge);
  view.y = clamp(view.y + dy, edge - height, stage.clientHeight - edge);
  place();
}

export function zoom(times, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
  if (!app.photo) return;
  const scale = clamp(view.scale * times, Math.min(fitScale(), 1) / 2, 40);
  const ratio = scale / view.scale;
  Object.assign(view, { scale, x: x - (x - view.x) * ratio, y: y - (y - view.y) * ratio });
  pan(0, 0);
}

export function moveCross(x, y) {
  [cross.x, cross.y] = [clamp(x, 0, app.photo.width - 1), clamp(y, 0, app.photo.height - 1)];
  place();
}

export const inStage = (event) => {
  const box = stage.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
};
export const toPixel = ({ x, y }) => [Math.floor((x - view.x) / view.scale), Math.floor((y - view.y) / view.scale)];
const onStage = (x, y) => [view.x + (x + 0.5) * view.scale, view.y + (y + 0.5) * view.scale];

function put(element, x, y) {
  const [left, top] = onStage(x, y);
  [element.style.left, element.style.top] = [`${left}px`, `${top}px`];
}

function place() {
  $("world").style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  $("world").classList.toggle("close", view.scale >= 3);
  $("zoom").textContent = `${Math.round(view.scale * 100)} %`;
  put($("crosshair"), cross.x, cross.y);
  emit("view");
}

// ---- Masks -------------------------------------------------------------------------------------------------------------
const little = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;
const pack = ([r, g, b], a) =>
  (little ? (a << 24) | (b << 16) | (g << 8) | r : (r << 24) | (g << 16) | (b << 8) | a) >>> 0;

export function drawMasks() {
  if (!app.labels) {
    [overlay.width, overlay.height] = [1, 1];
    return;
  }
  const { width, height, owner, factor } = app.labels;
  if (overlay.width !== width || overlay.height !== height) [overlay.width, overlay.height] = [width, height];
  [overlay.style.width, overlay.style.height] = [`${width * factor}px`, `${height * factor}px`];
  const image = pen.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  const alpha = Math.round($("opacity").value * 2.55);
  const paints = app.labels.targets.map((t) => (app.hidden.has(t.target) ? 0 : pack(color(t.target), alpha)));
  const white = pack([255, 255, 255], 255);
  const borders = $("borders").checked;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const own = owner[i];
      const edge = borders && ((x + 1 < width && owner[i + 1] !== own) || (y + 1 < height && owner[i + width] !== own));
      pixels[i] = edge ? white : own < 0 ? 0 : paints[own];
    }
  }
  pen.putImageData(image, 0, 0);
}

// ---- Points and rough circles --------------------------------------------------------------------------------------------
function dressPoint(marker, point, index) {
  put(marker, point.x, point.y);
  marker.style.background = `rgb(${color(point.target)})`;
  marker.dataset.index = index;
  marker.hidden = app.hidden.has(point.target);
  marker.classList.toggle("mate", app.chosen?.target === point.target);
  marker.setAttribute("aria-pressed", app.chosen?.point === index);
  marker.setAttribute("aria-label", `${title(point.target)}, point at x ${point.x}, y ${point.y}`);
}

function dressRing(ring, target) {
  const { x, y } = firstOf(target);
  const across = 2 * radiusOf(target) * view.scale;
  put(ring, x, y);
  [ring.style.width, ring.style.height] = [`${across}px`, `${across}px`];
  ring.style.color = `rgb(${color(target)})`;
  ring.classList.toggle("chosen", app.chosen?.target === target);
  ring.dataset.target = target;
  ring.hidden = app.hidden.has(target);
  ring.title = `${title(target)}: about ${Math.round(radiusOf(target))} pixels around`;
}

let makers = {};
/** Who makes the elements also listens to them. */
export const makeWith = (made) => {
  makers = made;
};

export function drawPoints() {
  fill($("points"), app.points, makers.marker, dressPoint);
  fill($("rings"), targets().filter(radiusOf), makers.ring, dressRing);
}

on("points look view folder picture", drawPoints);
on("labels picture folder", drawMasks);
new ResizeObserver(() => app.photo && (view.fitted ? fit() : pan(0, 0))).observe(stage);
$("zoom-in").onclick = () => zoom(1.25);
$("zoom-out").onclick = () => zoom(0.8);
$("zoom-fit").onclick = fit;
