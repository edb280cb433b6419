/** The page begins: the folder, then the picture that was open, or the first that is not finished. */
import "./keys.js";
import "./panel.js";
import { open } from "./folder.js";
import { relabel } from "./labels.js";
import { autosave } from "./saving.js";
import { ask, complain, say } from "./server.js";
import { $, app, categoryOf, emit, on, pick } from "./state.js";

on("points", () => {
  autosave();
  relabel();
});

$("add").onsubmit = async (event) => {
  event.preventDefault();
  const name = $("new-name").value.trim();
  if (!name || categoryOf(name)) {
    return complain(name ? `There is a category ${name} already.` : "A category needs a name.");
  }
  try {
    const body = JSON.stringify({ name, isthing: $("new-kind").value === "thing" ? 1 : 0 });
    app.folder.categories = (await ask("category", { body })).categories;
    complain("");
    $("new-name").value = "";
    pick(name);
    emit("folder");
  } catch (error) {
    complain(error.message);
  }
};

async function start() {
  app.folder = await ask("folder");
  const { pictures, states } = app.folder;
  app.category = history.state?.category ?? "";
  const asked = decodeURIComponent(location.hash.slice(1));
  const unfinished = states.findIndex((s) => s === "untouched" || s === "begun");
  await open(pictures.includes(asked) ? asked : pictures[Math.max(0, unfinished)]);
}
start().catch((error) => {
  complain(error.message);
  say("The page could not start.");
});
