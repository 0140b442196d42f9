"use strict";
// The result page: shows the image and its mask with NiiVue, and lets a person look around in them.
(async () => {
  const byId = (id) => document.getElementById(id);
  const study = JSON.parse(byId("study").textContent);
  const status = byId("status");
  const AXES = [2, 2, 1, 0, 2]; // which axis of the patient the arrow keys go along, by view

  const folder = decodeURIComponent(location.pathname.split("/").slice(-2)[0]);
  if (folder) {
    byId("name").textContent = folder;
    document.title = `${folder}: segmentation`;
  }

  async function unpacked(id) {
    const text = atob(byId(id).textContent);
    const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }

  async function loadNiivue() {
    const script = document.createElement("script");
    script.textContent = new TextDecoder().decode(await unpacked("niivue"));
    document.body.append(script); // the content security policy has its hash
    return window.niivue;
  }

  const { Niivue, NVImage, SHOW_RENDER, MULTIPLANAR_TYPE, DRAG_MODE } = await loadNiivue();
  const niivue = new Niivue({
    isRadiologicalConvention: true,
    sagittalNoseLeft: true,
    isNearestInterpolation: false,
    multiplanarShowRender: SHOW_RENDER.ALWAYS,
    multiplanarLayout: MULTIPLANAR_TYPE.GRID,
    dragMode: DRAG_MODE.windowing,
    dragAndDropEnabled: false,
    crosshairWidth: 0.6,
    crosshairWidthUnit: "mm",
    crosshairColor: [1, 0.85, 0.2, 0.8],
    fontColor: [0.85, 0.87, 0.9, 1],
    backColor: [0.05, 0.06, 0.07, 1],
    clipPlaneHotKey: "",
    cycleClipPlaneHotKey: "",
    viewModeHotKey: "",
    logLevel: "error",
  });
  await niivue.attachToCanvas(byId("canvas"));

  const hidden = new Set();
  let view = 0;
  let shown = 0; // which preview
  let masked = true;
  let place = null; // RAS mm
  let phase = 0;
  let playing = null;

  function labels() {
    const all = [{ value: 0, name: "", colour: [0, 0, 0] }, ...study.structures];
    const channel = (at) => all.map((each) => each.colour[at]);
    return {
      R: channel(0),
      G: channel(1),
      B: channel(2),
      A: all.map((each) => (each.value === 0 || hidden.has(each.value) ? 0 : 255)),
      I: all.map((each) => each.value),
    };
  }

  async function show(at) {
    const [image, mask] = await Promise.all([unpacked(`image-${at}`), unpacked(`mask-${at}`)]);
    const base = await NVImage.new(image, "image.nii", "gray", 1);
    const overlay = await NVImage.new(mask, "mask.nii", "gray", 0.5);
    overlay.setColormapLabel(labels());
    overlay.isTransparentBelowCalMin = true;
    niivue.volumes = [];
    niivue.addVolume(base);
    niivue.addVolume(overlay);
    shown = at;
    setWindow(study.window ?? study.windows[0]);
    setOpacity();
    setPhase(phase);
    if (place) {
      goTo(place);
    }
  }

  function setWindow({ low, high }) {
    const [base] = niivue.volumes;
    base.cal_min = low;
    base.cal_max = high;
    niivue.updateGLVolume();
    describeWindow();
  }

  function describeWindow() {
    const [{ cal_min: low, cal_max: high }] = niivue.volumes;
    study.window = { low, high };
    byId("level").value = Number(((low + high) / 2).toPrecision(5));
    byId("width").value = Number((high - low).toPrecision(5));
  }

  function setOpacity() {
    niivue.setOpacity(1, masked ? Number(byId("opacity").value) : 0);
  }

  function goTo(mm) {
    place = mm;
    niivue.scene.crosshairPos = niivue.mm2frac(mm, 0, true);
    niivue.createOnLocationChange();
    niivue.drawScene();
  }

  function setView(number) {
    view = number;
    const { sliceTypeMultiplanar, sliceTypeAxial, sliceTypeCoronal, sliceTypeSagittal, sliceTypeRender } = niivue;
    const types = [sliceTypeMultiplanar, sliceTypeAxial, sliceTypeCoronal, sliceTypeSagittal, sliceTypeRender];
    niivue.setSliceType(types[number]);
    document.querySelectorAll(".view").forEach((button) => {
      button.setAttribute("aria-pressed", String(Number(button.dataset.view) === number));
    });
  }

  function scroll(step) {
    const by = [0, 0, 0];
    by[AXES[view]] = step;
    niivue.moveCrosshairInVox(...by);
  }

  async function toggleCloser() {
    const button = byId("closer");
    if (button) {
      await show(shown ? 0 : 1);
      button.setAttribute("aria-pressed", String(shown === 1));
    }
  }

  function setPhase(number) {
    const slider = byId("phase");
    if (!slider) {
      return;
    }
    phase = Math.min(Math.max(number, 0), study.phases.length - 1);
    slider.value = String(phase);
    slider.setAttribute("aria-valuetext", study.phases[phase]);
    byId("phase-name").textContent = study.phases[phase];
    const line = byId("now");
    for (const end of ["x1", "x2"]) {
      line.setAttribute(end, String(phase * Number(line.dataset.step)));
    }
    niivue.volumes.forEach((volume) => niivue.setFrame4D(volume.id, phase));
  }

  function play() {
    playing = playing ? clearInterval(playing) : setInterval(() => setPhase((phase + 1) % study.phases.length), 120);
    byId("play").setAttribute("aria-pressed", String(Boolean(playing)));
  }

  function side(mm, positive, negative) {
    return `${mm < 0 ? negative : positive} ${Math.abs(mm).toFixed(1)}`;
  }

  niivue.onLocationChange = ({ mm, values }) => {
    place = [mm[0], mm[1], mm[2]];
    const at = [side(mm[0], "R", "L"), side(mm[1], "A", "P"), side(mm[2], "S", "I")].join("  ");
    const structure = study.structures.find((each) => each.value === Math.round(values[1]?.value ?? 0));
    const intensity = Number((values[0]?.value ?? NaN).toPrecision(4));
    status.textContent = `${at} mm   intensity ${intensity}${structure ? `   ${structure.name}` : ""}`;
  };
  niivue.onIntensityChange = describeWindow;

  byId("window").addEventListener("change", (event) => setWindow(study.windows[Number(event.target.value)]));
  for (const id of ["level", "width"]) {
    byId(id).addEventListener("change", () => {
      const level = Number(byId("level").value);
      const half = Math.max(Number(byId("width").value), 1e-6) / 2;
      setWindow({ low: level - half, high: level + half });
    });
  }
  byId("opacity").addEventListener("input", () => {
    masked = true;
    setOpacity();
  });
  byId("phase")?.addEventListener("input", (event) => setPhase(Number(event.target.value)));
  byId("play")?.addEventListener("click", play);
  byId("closer")?.addEventListener("click", toggleCloser);
  document.querySelectorAll(".view").forEach((button) => {
    button.addEventListener("click", () => setView(Number(button.dataset.view)));
  });
  document.querySelectorAll(".go").forEach((button) => {
    button.addEventListener("click", () => goTo(study.places[button.dataset.value]));
  });
  document.querySelectorAll(".shown").forEach((box) => {
    box.addEventListener("change", () => {
      const value = Number(box.dataset.value);
      if (box.checked) {
        hidden.delete(value);
      } else {
        hidden.add(value);
      }
      niivue.volumes[1].setColormapLabel(labels());
      niivue.updateGLVolume();
    });
  });

  function nextWindow() {
    const list = byId("window");
    list.selectedIndex = (list.selectedIndex + 1) % list.options.length;
    setWindow(study.windows[list.selectedIndex]);
  }

  function changeOpacity(by) {
    const slider = byId("opacity");
    slider.value = String(Number(slider.value) + by);
    masked = true;
    setOpacity();
  }

  const KEYS = {
    ArrowUp: () => scroll(1),
    ArrowDown: () => scroll(-1),
    w: nextWindow,
    m: () => {
      masked = !masked;
      setOpacity();
    },
    "[": () => changeOpacity(-0.1),
    "]": () => changeOpacity(0.1),
    c: toggleCloser,
    ArrowLeft: () => setPhase(phase - 1),
    ArrowRight: () => setPhase(phase + 1),
  };
  for (let number = 0; number < AXES.length; number += 1) {
    KEYS[String(number + 1)] = () => setView(number);
  }
  document.addEventListener("keydown", (event) => {
    const typing = event.target instanceof Element && event.target.matches("input:not([type=checkbox]), select");
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (typing || event.ctrlKey || event.altKey || event.metaKey || !(key in KEYS)) {
      return;
    }
    event.preventDefault();
    KEYS[key]();
  });

  setView(0);
  await show(0);
  const [first] = Object.values(study.places);
  if (first) {
    goTo(first);
  }
  window.resultPage = { niivue, study };
  document.body.dataset.ready = "yes";
})().catch((error) => {
  document.getElementById("status").textContent =
    `The picture cannot be shown (${error.message}). The figures below, and overlay.png beside this page, can.`;
  document.body.dataset.ready = "failed";
});
