/** The page begins: the folder, then the picture that was open, or the first that is not finished. */
import "./keys.js";
import "./look.js";
import "./panel.js";
import { open } from "./folder.js";
import { relabel } from "./labels.js";
import { autosave } from "./saving.js";
import { ask, complain, say } from "./server.js";
import { app, on } from "./state.js";

on("points", () => {
  autosave();
  relabel();
});

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
