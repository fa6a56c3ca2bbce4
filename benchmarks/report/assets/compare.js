// Compare two views of a scene: the right picture lies over the left one, clipped at the slider.
function compareScenes(scenes) {
  const compare = document.getElementById("compare");
  const [scene, left, right] = ["scene", "left", "right"].map((id) => document.getElementById(id));
  const [under, over] = compare.querySelectorAll("img");
  const slider = compare.querySelector("input");
  const [leftCaption, rightCaption] = document.querySelectorAll(".captions span");
  const show = () => {
    const chosen = scenes[scene.value];
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
  scenes.forEach((each, i) => scene.add(new Option(each.title, i)));
  [scene, left, right].forEach((select) => select.addEventListener("change", show));
  slider.addEventListener("input", () => compare.style.setProperty("--split", `${slider.value}%`));
  show();
}
