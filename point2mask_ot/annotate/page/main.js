/** The page begins: the folder, then one of its pictures. */
import "./keys.js";
import "./look.js";
import "./panel.js";
import { begin, open } from "./folder.js";
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
  app.category = history.state?.category ?? "";
  await (asked() && !app.folder.alone ? open(asked()) : begin());
}

/** The name of the picture that the address asks for. */
function asked() {
  const text = location.hash.slice(1);
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
// The report of a job opens its pictures in a window that is there.
addEventListener("hashchange", () => app.folder && asked() && open(asked()));

start().catch((error) => {
  complain(error.message);
  say("The page could not start.");
});
