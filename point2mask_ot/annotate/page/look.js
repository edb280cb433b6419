/** How the picture and the masks look: opacity, boundaries, contrast and gamma. */
import { $, clamp, on } from "./state.js";
import { drawMasks } from "./view.js";

export function setOpacity(value) {
  $("opacity").value = value;
  drawMasks();
}

export function toggleBorders() {
  $("borders").checked = !$("borders").checked;
  drawMasks();
}

/** Multiply the contrast and the gamma. */
export function develop(contrast, gamma) {
  $("contrast").value = clamp($("contrast").value * contrast, 0.25, 4);
  $("gamma").value = clamp($("gamma").value * gamma, 0.25, 4);
  show();
}

export function asItIs() {
  [$("contrast").value, $("gamma").value] = [1, 1];
  show();
}

function show() {
  for (const channel of $("gamma-curve").querySelectorAll("[exponent]")) {
    channel.setAttribute("exponent", 1 / $("gamma").value);
  }
  const plain = $("gamma").value === "1" ? "" : " url(#gamma-curve)";
  $("photo").style.filter = `contrast(${$("contrast").value})${plain}`;
}

on("picture", show);
$("opacity").oninput = drawMasks;
$("borders").onchange = drawMasks;
$("contrast").oninput = show;
$("gamma").oninput = show;
$("as-it-is").onclick = asItIs;
