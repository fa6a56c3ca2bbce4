"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const config = { responsive: true, displayModeBar: false };

// Curves: one figure per metric, selected by the buttons.
const curves = document.getElementById("curves");
const metrics = document.getElementById("metrics");
function showMetric(chosen) {
  Plotly.react(curves, data.curves[chosen].figure.data, data.curves[chosen].figure.layout, config);
  [...metrics.children].forEach((button, i) => button.setAttribute("aria-pressed", i === chosen));
}
data.curves.forEach((curve, i) => {
  const button = document.createElement("button");
  button.textContent = curve.title;
  button.addEventListener("click", () => showMetric(i));
  metrics.append(button);
});
showMetric(0);

sortable(document.getElementById("ratings"));

const scenes = data.scenes;
if (scenes.length) compareScenes(scenes);

// BD-rates: one bar per picture.
if (data.bars) {
  Plotly.newPlot(document.getElementById("bars"), data.bars.data, data.bars.layout, config);
}
