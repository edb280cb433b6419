/** Elements of the page, made. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

export function button(className, properties = {}, ...children) {
  return element("button", { type: "button", className, ...properties }, ...children);
}

/** As many children as there are values, each dressed for its own; those that are there stay, even under a finger. */
export function fill(box, values, make, dress) {
  while (box.children.length > values.length) box.lastElementChild.remove();
  while (box.children.length < values.length) box.append(make());
  for (const [index, value] of values.entries()) dress(box.children[index], value, index);
}
