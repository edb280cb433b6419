/** The categories of the folder: which is the next point's, and changes that hold for all pictures. */
import { element } from "./elements.js";
import { read, settle } from "./saving.js";
import { ask, complain, refused, say } from "./server.js";
import {
  $,
  app,
  categoryOf,
  emit,
  forgetSteps,
  inKeyOrder,
  leaveField,
  on,
  pick,
  renameKey,
  replacePoints,
} from "./state.js";

/** The key of a category: 1 to 9, then with Shift. */
const keyOf = (index) => (index < 9 ? `${index + 1}` : index < 18 ? `\u21e7${index - 8}` : null);
const hex = (rgb) => `#${rgb.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
const rgb = (text) => [1, 3, 5].map((at) => Number.parseInt(text.slice(at, at + 2), 16));

function render() {
  if (!app.folder) return;
  const names = inKeyOrder();
  const key = JSON.stringify([names, app.folder.categories, app.category]);
  if ($("categories").dataset.key === key) return;
  const focused = $("categories").contains(document.activeElement);
  $("categories").replaceChildren($("categories").firstElementChild, ...rows(names));
  $("categories").dataset.key = key;
  if (focused) $("categories").querySelector(":checked")?.focus();
}

const rows = (names) => names.flatMap((name, index) => (name === null ? [] : [row(categoryOf(name), index)]));

function row(category, index) {
  const { name } = category;
  const radio = element("input", { type: "radio", name: "category", value: name, checked: name === app.category });
  radio.onchange = () => pick(name);
  const parts = [radio, element("span", { textContent: name })];
  parts.push(element("small", { textContent: category.isthing ? "thing" : "stuff" }));
  if (keyOf(index)) parts.push(element("kbd", { textContent: keyOf(index) }));
  if (category.color) {
    const swatch = element("i", { className: "swatch" });
    swatch.style.background = hex(category.color);
    parts.splice(1, 0, swatch);
  }
  return element("label", {}, ...parts);
}

/** Have a change made in every picture; what is not saved of this one is saved before. */
async function change(body) {
  complain("");
  if (!(await settle())) return complain("First this picture has to be saved.");
  try {
    const { categories } = await ask("category", { body: JSON.stringify(body) });
    const before = app.folder.categories.map((c) => c.name);
    app.folder.categories = categories;
    const made = categories.find((c) => !before.includes(c.name))?.name;
    if (body.do === "rename") renameKey(body.name, made);
    if (body.do !== "add" && body.do !== "recolor") forgetSteps();
    if (app.photo && body.do !== "add" && body.do !== "recolor") {
      const state = await ask("state", { name: app.photo.name });
      replacePoints(state, { undoable: false });
      read(state);
      emit("points");
    }
    pick(made ?? body.to ?? app.category);
    emit("folder");
    say(made ? `${made} is the category of the next point.` : "The categories are changed.");
    return true;
  } catch (error) {
    complain(refused("Not changed", error));
    say("The categories are as they were.");
  }
}

$("add").onsubmit = async (event) => {
  event.preventDefault();
  const name = $("new-name").value.trim();
  if (!name || categoryOf(name)) {
    return complain(name ? `There is a category ${name} already.` : "A category needs a name.");
  }
  if (await change({ do: "add", name, isthing: $("new-kind").value === "thing" ? 1 : 0 })) {
    $("new-name").value = "";
    leaveField();
  }
};

// ---- One category, in a dialog -----------------------------------------------------------------------------------------
export function edit() {
  const { name, isthing, color } = categoryOf(app.category);
  $("category-title").textContent = name;
  $("category-name").value = name;
  $("category-color").value = hex(color ?? [128, 128, 128]);
  $("no-color").disabled = !color;
  const alike = app.folder.categories.filter((c) => c.isthing === isthing && c.name !== name);
  const option = (c) => element("option", { value: c.name, textContent: c.name });
  $("category-into").replaceChildren(...alike.map(option));
  $("category-merge").disabled = !alike.length;
  $("merge-sure").hidden = true;
  $("category").showModal();
}

function closing(body) {
  $("category").close();
  return change({ name: app.category, ...body });
}

$("edit-category").onclick = edit;
$("category-form").onsubmit = (event) => {
  event.preventDefault();
  const to = $("category-name").value.trim();
  if (to === app.category) $("category").close();
  else closing({ do: "rename", to });
};
const counted = (number, what) => `${number} ${what}${number === 1 ? "" : "s"}`;
$("category-merge").onclick = async () => {
  try {
    const { points, pictures } = await ask(`uses?category=${encodeURIComponent(app.category)}`);
    const its = points ? `${counted(points, "saved point")} in ${counted(pictures, "picture")}` : "no saved point";
    $("merge-words").textContent =
      `Merge ${app.category} (${its}) into ${$("category-into").value}? It cannot be undone, nor what was done here before.`;
    $("merge-sure").hidden = false;
    $("merge-now").focus();
  } catch (error) {
    $("category").close();
    complain(refused("Not merged", error));
  }
};
$("category-into").onchange = () => {
  $("merge-sure").hidden = true;
};
$("merge-now").onclick = () => closing({ do: "merge", to: $("category-into").value });
$("category-delete").onclick = () => closing({ do: "delete" });
$("category-color").onchange = (event) => closing({ do: "recolor", color: rgb(event.target.value) });
$("no-color").onclick = () => closing({ do: "recolor", color: null });
$("category-cancel").onclick = () => $("category").close();
on("points look folder picture", render);
