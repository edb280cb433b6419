/** Elements of the page, made. */
import { color } from "./state.js";

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function button(className, properties = {}, ...children) {
  return element("button", { type: "button", className, ...properties }, ...children);
}

export function swatch(target) {
  const made = element("i", { className: "swatch" });
  made.style.background = `rgb(${color(target)})`;
  return made;
}
