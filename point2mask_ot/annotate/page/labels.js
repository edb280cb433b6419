/** The masks of the latest points. */
import { ask, complain, described, refused, say } from "./server.js";
import { $, app, emit } from "./state.js";

let wanted = false;
let running = false;
let spoken = 0; // of saved masks, which labels do not talk over

export const speak = () => {
  spoken += 1;
};

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

function summary(answer) {
  const count = answer.targets.length;
  if (!count) return "No points.";
  const part = answer.factor > 1 ? ` in blocks of ${answer.factor} \u00d7 ${answer.factor} pixels` : "";
  const early = answer.converged ? "" : "; the transport stopped before it converged";
  const time = answer.seconds.toFixed(2);
  return `${count} ${count === 1 ? "target" : "targets"} labelled in ${time} s${part}${early}.${background(answer)}`;
}

export const background = (answer) =>
  answer.no_background ? " Things alone own every pixel: click on the background in a category of stuff, too." : "";
