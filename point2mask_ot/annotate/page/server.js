/** Talking to the server: labels of the latest points, and every change saved within a second. */
import { $, app, emit, replacePoints } from "./state.js";

const SAVE_AFTER = 300; // ms without a change
const AGAIN_AFTER = 2000; // ms after a save that failed
const BEACON = 60000; // bytes that a browser sends for a page that is closed
const page = [...crypto.getRandomValues(new Uint8Array(9))].map((b) => b.toString(36)).join("");

export const say = (words) => {
  $("status").textContent = words;
};
export function complain(words) {
  $("alert").textContent = words;
  $("alert").hidden = !words;
}

const address = (path, name) => `${path}?page=${page}${name === undefined ? "" : `&picture=${encodeURIComponent(name)}`}`;
export const viewOf = (name) => address("view", name);

export async function ask(path, { name, body } = {}) {
  const post = body && { method: "POST", headers: { "Content-Type": "application/json" }, body };
  let answer;
  try {
    answer = await fetch(address(path, name), post);
  } catch {
    throw Error("The server does not answer. Is point2mask annotate still running? Your points stay on this page.");
  }
  const value = await answer.json();
  if (!answer.ok) throw Object.assign(Error(value.error), { status: answer.status, version: value.version });
  return value;
}

/** `got 7; expected ...` of a refusal, behind words that end in a colon. */
const refused = (words, error) => (error.status ? `${words}: got ${error.message}.`.replace("got got", "got") : error.message);

// ---- Labels ------------------------------------------------------------------------------------------------------------
let wanted = false;
let running = false;
let spoken = 0; // of saved masks, which labels do not talk over

/** Label the latest state: one request is on its way at a time, and what changes meanwhile goes next. */
export async function relabel() {
  wanted = true;
  if (running) return;
  running = true;
  const slow = setTimeout(() => say("Labelling."), 300);
  const first = setTimeout(() => say("Still labelling. The first time on a machine takes up to a minute."), 3000);
  while (wanted) {
    wanted = false;
    const { name } = app.photo;
    const before = spoken;
    try {
      const answer = await ask("label", { name, body: described() });
      if (name !== app.photo.name) continue;
      complain("");
      show(answer);
      if (before === spoken) say(summary(answer));
    } catch (error) {
      if (error.status === 409) {
        wanted = true;
        await new Promise((done) => setTimeout(done, 200));
      } else if (name === app.photo.name) {
        $("overlay").classList.add("stale");
        complain(refused("Not labelled", error));
        say(app.labels ? "The masks shown are older than the points." : "No masks.");
      }
    }
  }
  clearTimeout(slow);
  clearTimeout(first);
  running = false;
}

function show(answer) {
  const owner = new Int16Array(answer.width * answer.height);
  let at = 0;
  answer.lengths.forEach((length, run) => owner.fill(answer.values[run], at, (at += length)));
  app.labels = { ...answer, owner, targets: answer.targets.map((t) => ({ ...t, target: Number(t.target) })) };
  $("overlay").classList.remove("stale");
  emit("labels");
}

function summary(answer) {
  const count = answer.targets.length;
  if (!count) return "No points.";
  const part = answer.factor > 1 ? ` in blocks of ${answer.factor} \u00d7 ${answer.factor} pixels` : "";
  const early = answer.converged ? "" : "; the transport stopped before it converged";
  const time = answer.seconds.toFixed(2);
  return `${count} ${count === 1 ? "target" : "targets"} labelled in ${time} s${part}${early}.${background(answer)}`;
}

const background = (answer) =>
  answer.no_background ? " Things alone own every pixel: click on the background in a category of stuff, too." : "";

// ---- Saving ------------------------------------------------------------------------------------------------------------
let savedText = ""; // the picture as its file has it
let version = ""; // of the saved points that this page has seen
let newer = ""; // version that a save would have replaced unseen
let edits = 0;
let timer = 0;
let saving = null; // a promise, while one is on its way
let failed = false;

const described = (more = {}) => JSON.stringify({ categories: app.folder.categories, points: app.points, ...more });
const content = () => JSON.stringify([app.points, app.state]);
const posted = () => described({ state: app.state, version, page, edit: ++edits });
export const dirty = () => app.photo !== null && content() !== savedText;
export const disputed = () => newer !== "";

export function autosave() {
  showSaved();
  clearTimeout(timer);
  if (dirty() && !disputed()) timer = setTimeout(save, failed ? AGAIN_AFTER : SAVE_AFTER);
}

function showSaved() {
  $("saved").textContent = disputed() ? "Not saved" : dirty() ? (failed ? "Not saved yet" : "Saving") : "Saved";
  document.title = `${dirty() ? "* " : ""}${app.photo?.name ?? ""} - annotate`;
}

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
  savedText = JSON.stringify([JSON.parse(savedText)[0], state]);
}

/** Nothing is left to save; false where a person has to see to it first. */
export async function settle() {
  await save();
  if (dirty() && !disputed()) await save();
  return !dirty();
}

/** The points and the masks of the picture, at its full size. */
export async function saveMasks() {
  clearTimeout(timer);
  while (saving) await saving;
  spoken += 1;
  complain("");
  if (disputed()) return;
  say("Saving the masks.");
  $("save").disabled = true;
  const slow = setTimeout(() => say("Saving. The masks of a large picture take a while at full size."), 3000);
  const text = content();
  saving = send("masks");
  const answer = await saving;
  saving = null;
  clearTimeout(slow);
  $("save").disabled = false;
  if (answer?.masks_error) {
    complain(`The points are saved in ${answer.out}, but not the masks: got ${answer.masks_error}.`);
    say("Not all is saved.");
  } else if (answer) {
    if (text === content()) show(answer);
    const time = answer.seconds.toFixed(2);
    say(`Saved ${answer.wrote.join(", ")} in ${answer.out} (labelled in ${time} s).${background(answer)}`);
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
  [version, newer, failed] = [state.version, "", false];
  $("conflict").hidden = true;
  savedText = state.replaces || (state.resumed && !state.version) ? "" : JSON.stringify([state.points, state.state]);
}

$("take-theirs").onclick = async () => {
  try {
    const state = await ask("state", { name: app.photo.name });
    replacePoints(state.points, { undoable: true }); // a page's own points are an undo away
    read(state);
    emit("folder");
    emit("points");
    say(`Loaded ${state.resumed ?? "no points: none are saved any more"}. Undo brings the points of this page back.`);
  } catch (error) {
    complain(error.message);
  }
};
$("keep-mine").onclick = () => {
  [version, newer] = [newer, ""];
  $("conflict").hidden = true;
  save();
};

window.addEventListener("pagehide", () => {
  if (dirty() && !disputed()) navigator.sendBeacon(address("save", app.photo.name), new Blob([posted()], { type: "application/json" }));
});
window.addEventListener("beforeunload", (event) => {
  if (dirty() && (failed || disputed() || described().length > BEACON)) event.preventDefault();
});
