/** Every change saved within a second, and nobody else's overwritten unseen. */
import { element } from "./elements.js";
import { background, show, speak } from "./labels.js";
import { address, ask, complain, described, notify, page, refused, say } from "./server.js";
import { $, app, emit, pick, replacePoints } from "./state.js";

const SAVE_AFTER = 300; // ms without a change
const AGAIN_AFTER = 2000; // ms after a save that failed
const BEACON = 60000; // bytes that a browser sends for a page that is closed

let savedText = ""; // the picture as its file has it
let version = ""; // of the saved points that this page has seen
let newer = ""; // version that a save would have replaced unseen
let edits = 0;
let timer = 0;
let saving = null; // a promise, while one is on its way
let failed = false;
let masksOf = null; // points and paint whose masks were saved last of this picture

export const savedVersion = () => version;
const drawn = () => JSON.stringify([app.points, app.paint]);
const content = () => JSON.stringify([app.points, app.paint, app.state]);
const posted = () => described({ state: app.state, version, page, edit: ++edits });
export const dirty = () => app.photo !== null && content() !== savedText;
export const disputed = () => newer !== "";

export function autosave() {
  showSaved();
  clearTimeout(timer);
  if (dirty() && !disputed()) timer = setTimeout(save, failed ? AGAIN_AFTER : SAVE_AFTER);
}

function showSaved() {
  const words = disputed() ? "Not saved" : dirty() ? (failed ? "Not saved yet" : "Saving") : "Saved";
  $("saved").textContent = app.photo ? words : "";
  $("older").hidden = masksOf === null || masksOf === drawn();
  $("rescue").hidden = !(failed && dirty() && app.points.length);
  $("save").disabled = !app.photo;
  document.title = `${dirty() ? "* " : ""}${app.photo?.name ?? app.broken ?? ""} - annotate`;
}

/** A points file of this picture, which the commands read, for whoever cannot save it otherwise. */
function copyOfPoints() {
  const { name } = app.photo;
  const picture = { file_name: name, points: app.points, ...(app.paint && { paint: app.paint }) };
  const info = { state: finished(app.state) ? app.state : "begun" };
  const text = JSON.stringify({ info, categories: app.folder.categories, images: [picture] }, null, 1);
  const stem = name.replace(/^.*\//, "").replace(/\.[^.]*$/, "");
  return { text, file: `${stem}_points.json` };
}

$("save-copy").onclick = () => {
  const { text, file } = copyOfPoints();
  const href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  element("a", { href, download: file }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60000);
};

/** Save what has changed. */
export async function save() {
  clearTimeout(timer);
  while (saving) await saving;
  if (!dirty() || disputed()) return;
  saving = send("save");
  await saving;
  saving = null;
  autosave();
}

/** Send the picture; what the server answers, or nothing where it refuses. */
async function send(path) {
  const sent = content();
  const { name } = app.photo;
  try {
    const answer = await ask(path, { name, body: posted() });
    [version, savedText] = [answer.version, sent];
    adopt(answer.state);
    takeCategories(answer);
    if (failed) complain("");
    failed = false;
    emit("saved");
    return answer;
  } catch (error) {
    if (error.status === 409 && error.version !== undefined) {
      newer = error.version;
      $("conflict").hidden = false;
    } else if (error.status !== 409) {
      failed = true;
      complain(refused("Not saved", error));
    }
    return null;
  }
}

export const finished = (state) => state === "done" || state === "skipped";

/** Of a picture that is neither done nor skipped, the server says whether it is begun. */
function adopt(state) {
  if (finished(state) || finished(app.state)) return;
  app.state = state;
  savedText = JSON.stringify([...JSON.parse(savedText).slice(0, 2), state]);
}

/** The categories as the folder has them now; what these points have brought back is said. */
function takeCategories({ categories, returned }) {
  const known = (name) => categories.some((c) => c.name === name);
  if (!app.points.every((p) => known(p.category))) return; // clicked meanwhile: the next save will tell
  const changed = JSON.stringify(categories) !== JSON.stringify(app.folder.categories);
  app.folder.categories = categories;
  if (changed) pick(app.category);
  if (returned.length) {
    const names = returned.join(", ");
    notify(`${names}: renamed, merged or deleted elsewhere, and back with the points of this picture. F2 changes it.`);
  }
}

/** Nothing is left to save; false where a person has to see to it first. */
export async function settle() {
  await save();
  if (dirty() && !disputed()) await save();
  return !dirty();
}

/** The points and the masks of the picture, at its full size. */
export async function saveMasks() {
  if (!app.photo) return;
  clearTimeout(timer);
  while (saving) await saving;
  speak();
  complain("");
  if (disputed()) return;
  say("Saving the masks.");
  $("save").disabled = true;
  const slow = setTimeout(() => say("Saving. The masks of a large picture take a while at full size."), 3000);
  const [text, points] = [content(), drawn()];
  saving = send("masks");
  const answer = await saving;
  saving = null;
  clearTimeout(slow);
  $("save").disabled = false;
  if (answer?.masks_error) {
    complain(`The points are saved in ${answer.out}, but not the masks: ${answer.masks_error}.`);
    say("Not all is saved.");
  } else if (answer) {
    masksOf = points;
    if (text === content()) show(answer);
    const time = answer.seconds.toFixed(2);
    const since = points === drawn() ? "" : " The points have changed meanwhile: save the masks once more.";
    say(`Saved ${answer.wrote.join(", ")} in ${answer.out} (labelled in ${time} s).${since}${background(answer)}`);
  } else {
    say("Not saved.");
  }
  autosave();
}

/** Begin with what the server has of a picture. */
export function read(state) {
  app.photo = state;
  app.folder.categories = state.categories;
  app.state = state.state;
  [version, newer, failed, masksOf] = [state.version, "", false, null];
  $("conflict").hidden = true;
  savedText = JSON.stringify([state.points, state.paint, state.state]);
}

$("take-theirs").onclick = async () => {
  try {
    const state = await ask("state", { name: app.photo.name });
    replacePoints(state, { undoable: true }); // a page's own points are an undo away
    read(state);
    emit("folder");
    emit("points");
    say(`Loaded ${state.resumed ?? "no points: none are saved any more"}. Undo brings the points of this page back.`);
  } catch (error) {
    complain(error.message);
  }
};
$("keep-mine").onclick = async () => {
  [version, newer] = [newer, ""];
  $("conflict").hidden = true;
  say("Saving the points of this page.");
  await save();
  if (!disputed() && !failed) say("Saved: the points of this page are in the place of the others.");
};

window.addEventListener("pagehide", () => {
  if (dirty() && !disputed())
    navigator.sendBeacon(address("save", app.photo.name), new Blob([posted()], { type: "application/json" }));
});
window.addEventListener("beforeunload", (event) => {
  if (dirty() && (failed || disputed() || described().length > BEACON)) event.preventDefault();
});
