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

// Comparison: the right picture lies over the left one, clipped at the slider.
const compare = document.getElementById("compare");
if (compare) {
  const [scene, left, right] = ["scene", "left", "right"].map((id) => document.getElementById(id));
  const [under, over] = compare.querySelectorAll("img");
  const slider = compare.querySelector("input");
  const [leftCaption, rightCaption] = document.querySelectorAll(".captions span");
  const show = () => {
    const chosen = data.scenes[scene.value];
    const views = [chosen[left.value], chosen[right.value]];
    [under, over].forEach((image, i) => {
      image.src = views[i].source;
      image.alt = `${chosen.title}, ${views[i].caption}`;
      image.width = chosen.width;
      image.height = chosen.height;
    });
    compare.style.maxWidth = compare.nextElementSibling.style.maxWidth = `${chosen.width}px`;
    leftCaption.textContent = `← ${views[0].caption}`;
    rightCaption.textContent = `${views[1].caption} →`;
  };
  data.scenes.forEach((each, i) => scene.add(new Option(each.title, i)));
  [scene, left, right].forEach((select) => select.addEventListener("change", show));
  slider.addEventListener("input", () => compare.style.setProperty("--split", `${slider.value}%`));
  show();
}

// BD-rates: one bar per picture.
if (data.bars) {
  Plotly.newPlot(document.getElementById("bars"), data.bars.data, data.bars.layout, config);
}
