/** What becomes of a picture: done, skipped, or neither any more. */
import { beside, CHOOSE, goOn, here, nextWhere, queued } from "./folder.js";
import { finished, settle } from "./saving.js";
import { ask, complain, hint, notify, refused, say } from "./server.js";
import { $, app, emit, on } from "./state.js";

let edited = false; // the picture, since it was opened or marked
let warned = false; // that it has no points, before it is done

on("picture", () => {
  [edited, warned] = [false, false];
});

/** On to the next that waits; where none does, one that was finished before leads to the next of the list. */
const nextWaiting = (before) =>
  goOn(() => nextWhere((state) => !finished(state)) ?? (finished(before) ? beside(1) : undefined), allFinished);

function allFinished() {
  const { pictures, states } = app.folder;
  const left = pictures.filter((_, k) => !finished(states[k]));
  if (!left.length) return "All pictures are done or skipped.";
  const names = `${left.slice(0, 3).join(", ")}${left.length > 3 ? " and others" : ""}`;
  return `All are done or skipped but ${left.length} that cannot be opened: ${names}.`;
}

/** Mark the picture and go on; a second time takes the mark away, unless the picture was edited since. */
export const mark = queued(async (state) => {
  if (app.folder.alone) return;
  if (here() < 0) return say(CHOOSE);
  if (!app.photo) return markBroken(state);
  notify("");
  if (app.state === state && !edited) return unmark(state);
  if (state === "done" && !app.points.length && !warned) {
    warned = true;
    return complain("No points: all of this picture would be void. Done (D) once more marks it as done.");
  }
  const before = app.state;
  [app.state, edited] = [state, false];
  app.folder.states[here()] = state;
  emit("folder");
  if (await settle()) await nextWaiting(before);
});

async function unmark(state) {
  app.state = "begun";
  if (!(await settle())) return; // the server says whether it is begun or untouched
  notify(`No longer ${state}, but ${app.state}. ${state === "done" ? "D marks it as done" : "S skips it"} again.`);
}

async function markBroken(state) {
  if (state !== "skipped") return complain(`${app.broken} cannot be opened: S skips it.`);
  const again = app.state === "skipped";
  try {
    const body = JSON.stringify({ state: again ? "begun" : "skipped" });
    app.state = (await ask("skip", { name: app.broken, body })).state;
  } catch (error) {
    return complain(refused("Not skipped", error));
  }
  emit("folder");
  if (!again) await nextWaiting();
}

/** What is worked on is not skipped any more. */
on("edit", () => {
  [edited, warned] = [true, false];
  if (app.state !== "skipped") return;
  app.state = "begun";
  hint("This picture was skipped, and is no longer.");
  emit("folder");
});

$("done").onclick = () => mark("done");
$("skip").onclick = () => mark("skipped");
