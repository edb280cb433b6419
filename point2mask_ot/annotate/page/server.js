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

/** `got 7; expected ...` of a refusal, behind words that end in a colon. */
export const refused = (words, error) =>
  error.status ? `${words}: got ${error.message}.`.replace("got got", "got") : error.message;

/** The picture as the server reads it. */
export const described = (more = {}) =>
  JSON.stringify({ categories: app.folder.categories, points: app.points, paint: app.paint, ...more });
