/** The masks of the latest points. */
import { ask, complain, described, refused, say, takeHint } from "./server.js";
import { $, app, emit } from "./state.js";

const SLOW = 200; // ms that masks may take before coarse ones go ahead of them
let changes = 0; // of the points; labels belong to one of these states
let shown = { change: 0, coarse: false };
/** The overlay says of what its masks are: "fine" ones of the points as they are, "coarse" ones, or older ones. */
const mark = (what) => {
  $("overlay").dataset.masks = what;
};
let took = 0; // ms, the last time
let spoken = 0; // of saved masks, which labels do not talk over
let heard = 0; // that, when the labels were asked for last

export const speak = () => {
  spoken += 1;
};

const tell = (words) => heard === spoken && say(words);

/** A loop with one request on its way at a time; what changes meanwhile goes next. */
function loop(work) {
  let [wanted, running] = [false, false];
  return async () => {
    wanted = true;
    if (running) return;
    running = true;
    while (wanted) {
      wanted = false;
      wanted = (await work()) || wanted;
    }
    running = false;
  };
}

/** Label the latest state; where that takes long, coarsely at once. */
export async function relabel() {
  changes += 1;
  heard = spoken;
  mark("older");
  if (took > SLOW) await coarse(); // alone, or the two would share the processor
  await full();
}

/** The labels of the points as they are, if they still are of this picture; a refusal is thrown. */
async function labelled(query) {
  const { name } = app.photo;
  const change = changes;
  const answer = await ask(`label${query}`, { name, body: described() });
  return name === app.photo?.name ? { answer, change } : null;
}

const pause = () => new Promise((done) => setTimeout(done, 200));

const coarse = loop(async () => {
  const found = await labelled("?coarse").catch(() => null); // the others will say what is wrong
  if (!found || found.change <= shown.change) return;
  show(found.answer);
  shown = { change: found.change, coarse: true };
  if (found.change === changes) mark("coarse");
  tell(`${count(found.answer)} in ${found.answer.seconds.toFixed(2)} s, coarsely; finer masks follow.`);
});

const full = loop(async () => {
  const { name } = app.photo;
  const slow = setTimeout(() => shown.coarse || tell("Labelling."), 300);
  const first = setTimeout(
    () => shown.coarse || tell("Still labelling. The first time on a machine takes up to a minute."),
    3000,
  );
  const start = performance.now();
  try {
    const found = await labelled("");
    if (!found) return;
    took = performance.now() - start;
    complain("");
    if (found.change < shown.change) return; // coarse ones of later points are there, and fine ones will be
    show(found.answer);
    shown = { change: found.change, coarse: false };
    if (found.change === changes) mark("fine");
    if (heard === spoken) say(summary(found.answer) + takeHint()); // or the hint waits
  } catch (error) {
    if (error.status === 409) {
      await pause();
      return true;
    }
    if (name === app.photo?.name) {
      $("overlay").classList.add("stale");
      complain(refused("Not labelled", error));
      say(app.labels ? "The masks shown are older than the points." : "No masks.");
    }
  } finally {
    clearTimeout(slow);
    clearTimeout(first);
  }
});

export function show(answer) {
  const owner = new Int16Array(answer.width * answer.height);
  let at = 0;
  for (const [run, length] of answer.lengths.entries()) {
    owner.fill(answer.values[run], at, at + length);
    at += length;
  }
  app.labels = { ...answer, owner, targets: answer.targets.map((t) => ({ ...t, target: Number(t.target) })) };
  $("overlay").classList.remove("stale");
  emit("labels");
}

const count = ({ targets }) => `${targets.length} ${targets.length === 1 ? "target" : "targets"}`;

function summary(answer) {
  if (!answer.targets.length) return "No points.";
  const part = answer.factor > 1 ? ` in blocks of ${answer.factor} \u00d7 ${answer.factor} pixels` : "";
  const early = answer.converged ? "" : "; the transport stopped before it converged";
  return `${count(answer)} labelled in ${answer.seconds.toFixed(2)} s${part}${early}.${background(answer)}`;
}

export const background = (answer) =>
  answer.no_background ? " Things alone own every pixel: click on the background in a category of stuff, too." : "";
