"use strict";
// Draws the page's figures, in the colors of day, night or paper. Asks no network for anything.
const charts = JSON.parse(document.getElementById("charts").textContent);
const places = [...document.querySelectorAll(".chart")];
const touch = matchMedia("(pointer: coarse)").matches;
const narrow = () => innerWidth < 544;

function template() {
  const style = getComputedStyle(document.documentElement);
  const ink = (name) => style.getPropertyValue(name).trim();
  const axis = {
    gridcolor: ink("--rule"), linecolor: ink("--rule"), zerolinecolor: ink("--rule"),
    automargin: true, title: { standoff: 8 },
  };
  return {
    layout: {
      font: { family: getComputedStyle(document.body).fontFamily, size: narrow() ? 11 : 13, color: ink("--ink") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      colorway: ["#0f7fb8", "#d9730d", "#1a9988", "#c2477f", "#8a6fd1", "#b59a00", "#5b7f2b", "#4f5dc9", "#a3512b", "#5f7f95"],
      margin: { l: 8, r: 8, t: 28, b: 8 },
      legend: {
        orientation: "h", yref: "container", yanchor: "bottom", y: 0, x: 0, xanchor: "left",
        ...(narrow() ? { entrywidth: 0.5, entrywidthmode: "fraction", font: { size: 10 } } : {}),
      },
      hoverlabel: { font: { size: 12 }, align: "left" },
      hovermode: "closest",
      modebar: { bgcolor: "rgba(0,0,0,0)", color: ink("--quiet"), activecolor: ink("--accent") },
      dragmode: touch ? false : "zoom", // a finger that drags wants to scroll
      xaxis: axis, yaxis: axis,
    },
  };
}

// A closed fold has no width: all are open while figures are drawn.
async function drawAll() {
  const closed = [...document.querySelectorAll("details:not([open])")];
  for (const fold of closed) fold.open = true;
  for (const [number, place] of places.entries()) {
    const { data, layout, small } = charts[number];
    const shape = { ...layout, template: template(), width: place.clientWidth, height: place.clientHeight };
    await Plotly.newPlot(place, data, shape, {
      displaylogo: false, displayModeBar: touch || small ? false : "hover",
      modeBarButtons: [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
    });
  }
  for (const fold of closed) fold.open = fold.matches(":target > details");
  document.documentElement.dataset.drawn = String(places.length);
}

function redraw() {
  const colors = template();
  for (const place of places) {
    if (place.data && place.clientWidth) Plotly.relayout(place, { template: colors, width: place.clientWidth });
  }
}

let before = []; // the folds that were open before printing

function paper(on) {
  const folds = [...document.querySelectorAll("details")];
  document.documentElement.classList.toggle("paper", on);
  if (on) before = folds.filter((fold) => fold.open);
  for (const fold of folds) fold.open = on || before.includes(fold);
  redraw();
}

let resized = 0;
addEventListener("resize", () => {
  clearTimeout(resized);
  resized = setTimeout(redraw, 150);
});
// A link into a folded part opens it; a fold that was closed while the window changed is drawn anew.
addEventListener("hashchange", () => {
  const part = document.querySelector(":target > details");
  if (part) part.open = true;
});
document.addEventListener("toggle", (event) => { if (event.target.open) redraw(); }, true);
addEventListener("beforeprint", () => paper(true));
addEventListener("afterprint", () => paper(false));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
drawAll();
