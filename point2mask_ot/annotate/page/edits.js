/** What can be done to the points of a picture. */
import { dropPaint } from "./paint.js";
import { complain } from "./server.js";
import { $, app, categoryOf, change, choose, clamp, firstOf, pointsOf, targets, title } from "./state.js";

/** Whether a target may change; who is locked says so. */
function free(target) {
  if (app.locked.has(target)) complain(`${title(target)} is locked (L).`);
  return !app.locked.has(target);
}

const inside = (x, y) => x >= 0 && y >= 0 && x < app.photo.width && y < app.photo.height;

/** Set a point and choose it; true if it lies in the picture. */
export function addPoint(x, y, { extend = false, tag = null } = {}) {
  if (!inside(x, y)) return false;
  const ids = targets();
  let target = (extend || $("extend").checked) && app.chosen ? app.chosen.target : null;
  if (target === null && !categoryOf(app.category).isthing) {
    target = ids.find((t) => firstOf(t).category === app.category) ?? null;
  }
  if (target === null) for (target = 0; ids.includes(target); ) target++;
  if (!free(target)) return false;
  const { category } = firstOf(target) ?? app;
  change(() => app.points.push({ x, y, category, target }), tag);
  choose(target, app.points.length - 1);
  return true;
}

export function movePoint(index, x, y, tag) {
  const point = app.points[index];
  if (!free(point.target)) return;
  change(() => {
    [point.x, point.y] = [clamp(x, 0, app.photo.width - 1), clamp(y, 0, app.photo.height - 1)];
  }, tag);
}

export function deletePoint(index) {
  const { target } = app.points[index];
  if (!free(target)) return;
  change(() => {
    app.points.splice(index, 1);
    if (!firstOf(target)) dropPaint(target);
  });
  choose(pointsOf(target).length ? target : null);
}

export function deleteTarget(target) {
  if (!free(target)) return;
  change(() => {
    app.points = app.points.filter((p) => p.target !== target);
    dropPaint(target);
  });
  choose(null);
}

/** Give a target another category; stuff joins the region of that category, if there is one. */
export function recategorize(target, name) {
  const same = categoryOf(name).isthing
    ? undefined
    : targets().find((t) => t !== target && firstOf(t).category === name);
  if (!free(target) || (same !== undefined && !free(same))) return choose(target);
  change(() => {
    const told = same === undefined ? {} : jointSize(target, same);
    for (const p of pointsOf(target)) [p.category, p.target] = [name, same ?? target];
    if (same !== undefined) {
      tell(same, told);
      dropPaint(target, same);
    }
  });
  choose(same ?? target, app.chosen?.point ?? null);
}

// ---- How large a target is, roughly -------------------------------------------------------------------------------------
function tell(target, told) {
  for (const point of pointsOf(target)) {
    delete point.size;
    delete point.size_error;
    Object.assign(point, told);
  }
}

/** What regions that become one say of their size: together as much, off by the larger of their factors. */
function jointSize(...parts) {
  const told = parts.map((part) => pointsOf(part).find((p) => p.size)).filter(Boolean);
  if (!told.length) return {};
  const size = told.reduce((sum, p) => sum + p.size, 0);
  const factors = told.map((p) => p.size_error).filter(Boolean);
  return factors.length ? { size, size_error: Math.max(...factors) } : { size };
}

export const sizeOf = (target) => pointsOf(target).find((p) => p.size)?.size;
/** Of the disc as large as the target is said to be; undefined where nothing is said. */
export const radiusOf = (target) => sizeOf(target) && Math.sqrt(sizeOf(target) / Math.PI);

/** Say how many pixels a target has, roughly; null: nothing. */
export function setSize(target, pixels, tag = null) {
  if (!free(target)) return;
  const most = app.photo.width * app.photo.height;
  const told = pixels === null ? {} : { size: Math.round(clamp(pixels, 1, most)) };
  change(() => tell(target, told), tag);
}

export const setRadius = (target, radius, tag) => setSize(target, Math.PI * radius * radius, tag);
