/** Talking to the server, and to the person. */
import { $, app } from "./state.js";

export const page = [...crypto.getRandomValues(new Uint8Array(9))].map((b) => b.toString(36)).join("");

export const say = (words) => {
  $("status").textContent = words;
};
export function complain(words) {
  $("alert").textContent = words;
  $("alert").hidden = !words;
}

/** What stays until a person has read it; nothing takes it away. */
export function notify(words) {
  $("notice-words").textContent = words;
  $("notice").hidden = !words;
}
$("notice-read").onclick = () => notify("");

let aside = "";
/** What the next words on the masks are to end with. */
export const hint = (words) => {
  aside = words;
  say(words);
};
export const takeHint = () => {
  const words = aside ? ` ${aside}` : "";
  aside = "";
  return words;
};

export const address = (path, name) =>
  `${path}${path.includes("?") ? "&" : "?"}page=${page}${name === undefined ? "" : `&picture=${encodeURIComponent(name)}`}`;
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

/** `got 7; expected ...` of a refusal, behind what did not come to pass. */
export const refused = (words, error) => (error.status ? `${words}: ${error.message}.` : error.message);

/** The picture as the server reads it. */
export const described = (more = {}) =>
  JSON.stringify({ categories: app.folder.categories, points: app.points, paint: app.paint, ...more });
