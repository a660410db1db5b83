// The page "Heal your photograph": takes a picture, covers it with noise, and has a worker restore it.

const root = document.getElementById("heal");
const part = (name) => root.querySelector(`[data-part="${name}"]`);
const [drop, file, sample, share, shareTold, loss, side, run, stop, status, stage, canvas, split, save] = [
  "drop", "file", "sample", "share", "share-told", "loss", "side", "run", "stop", "status", "stage", "canvas", "split",
  "save",
].map(part);
const left = () => root.querySelector('[name="heal-left"]:checked').value;

let source = null; // the picture as it was chosen
let size = null; // rows, cols
let original = null; // RGBA, as are the two that follow
let corrupt = null;
let healed = null;
let missing = null; // 1 where a pixel is corrupt
let worker = null;
let busy = false;

function say(text) {
  status.textContent = text;
}

// ---- the picture ----

async function take(blob, name) {
  try {
    source = await createImageBitmap(blob);
  } catch {
    say("This file is no picture that the browser can read.");
    return;
  }
  prepare();
  say(`${name}: ${size.cols} × ${size.rows} pixels. Choose how many are missing, then heal.`);
}

function prepare() {
  halt();
  const scale = Math.min(1, Number(side.value) / Math.max(source.width, source.height));
  const cols = Math.max(1, Math.round(source.width * scale));
  const rows = Math.max(1, Math.round(source.height * scale));
  size = { rows, cols };
  const context = new OffscreenCanvas(cols, rows).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white"; // behind what is transparent
  context.fillRect(0, 0, cols, rows);
  context.imageSmoothingQuality = "high";
  context.drawImage(source, 0, 0, cols, rows);
  original = context.getImageData(0, 0, cols, rows).data;
  canvas.width = cols;
  canvas.height = rows;
  stage.hidden = false;
  spoil();
}

// A pixel is missing where its number in [0, 1) is below the share: with a larger share more are, and none fewer.
function* numbers(seed) {
  for (;;) {
    seed = (seed + 0x6d2b79f5) | 0; // mulberry32
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    yield ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }
}

function spoil() {
  shareTold.textContent = `${share.value} %`;
  if (!original) return;
  const random = numbers(1);
  const limit = Number(share.value) / 100;
  corrupt = original.slice();
  missing = new Uint8Array(size.rows * size.cols);
  for (let pixel = 0; pixel < missing.length; pixel++) {
    const place = random.next().value;
    const colour = random.next().value < 0.5 ? 0 : 255;
    if (place < limit) {
      missing[pixel] = 1;
      corrupt.fill(colour, 4 * pixel, 4 * pixel + 3);
    }
  }
  healed = null;
  run.disabled = false;
  save.hidden = true;
  split.disabled = true;
  draw();
}

// ---- the canvas ----

function draw() {
  const context = canvas.getContext("2d");
  const picture = (pixels) => new ImageData(new Uint8ClampedArray(pixels), size.cols, size.rows);
  context.putImageData(picture(healed ?? corrupt), 0, 0);
  const at = Math.round((size.cols * Number(split.value)) / 100);
  if (!healed || at === 0) return;
  context.putImageData(picture(left() === "original" ? original : corrupt), 0, 0, 0, 0, at, size.rows);
  const width = Math.max(1, Math.round(size.cols / 200));
  context.fillStyle = "white";
  context.fillRect(at - width, 0, 2 * width, size.rows);
  context.fillStyle = "black";
  context.fillRect(at - width / 2, 0, width, size.rows);
}

function withAlpha(rgb) {
  const rgba = new Uint8ClampedArray((rgb.length / 3) * 4).fill(255);
  for (let i = 0, j = 0; i < rgb.length; i += 3, j += 4) rgba.set(rgb.subarray(i, i + 3), j);
  return rgba;
}

function withoutAlpha(rgba) {
  const rgb = new Uint8Array((rgba.length / 4) * 3);
  for (let i = 0, j = 0; j < rgba.length; i += 3, j += 4) rgb.set(rgba.subarray(j, j + 3), i);
  return rgb;
}

function decibels(pixels) {
  let sum = 0;
  for (let i = 0; i < pixels.length; i++) sum += (pixels[i] - original[i]) ** 2; // alpha adds nothing
  const mean = sum / ((pixels.length / 4) * 3);
  return mean === 0 ? "no error at all" : `${(10 * Math.log10(255 ** 2 / mean)).toFixed(1)} dB`;
}

// ---- the worker ----

function start() {
  if (!original || busy) return;
  if (!missing.includes(1)) {
    say("No pixel is missing.");
    return;
  }
  if (!worker) {
    worker = new Worker(new URL(root.dataset.worker, document.baseURI), { type: "module" });
    worker.onmessage = ({ data }) => answers[data.kind](data);
    worker.onerror = (event) => answers.error({ text: event.message || "The worker could not be started." });
  }
  occupy(true);
  split.value = 0;
  say("Starting …");
  const pixels = withoutAlpha(corrupt);
  const task = { kind: "heal", pyodide: root.dataset.pyodide, pixels, missing, ...size, loss: loss.value };
  worker.postMessage(task, [pixels.buffer]);
}

const answers = {
  status: ({ text }) => say(text),
  picture: ({ iteration, pixels }) => {
    healed = withAlpha(pixels);
    draw();
    say(`Iteration ${iteration}, ${decibels(healed)}`);
  },
  done: ({ pixels, seconds, message }) => {
    healed = withAlpha(pixels);
    split.disabled = save.hidden = false;
    split.value = 50;
    draw();
    occupy(false);
    say(`${decibels(healed)}; restored in ${seconds.toFixed(2)} s. ${message}`);
  },
  error: ({ text }) => {
    halt();
    say(text);
  },
};

function halt() {
  worker?.terminate(); // a worker that computes hears no message
  worker = null;
  occupy(false);
}

function occupy(now) {
  busy = now;
  run.disabled = now || !original;
  stop.disabled = !now;
  root.setAttribute("aria-busy", String(now));
}

// ---- what the reader does ----

file.addEventListener("change", () => file.files.length && take(file.files[0], file.files[0].name));
sample.addEventListener("click", async () => {
  const response = await fetch(new URL(root.dataset.sample, document.baseURI));
  await take(await response.blob(), "The sample");
});
document.addEventListener("paste", (event) => {
  const item = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
  if (item) take(item, "What you pasted");
});
for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
  drop.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) {
      take(event.dataTransfer.files[0], event.dataTransfer.files[0].name);
    }
  });
}
share.addEventListener("input", () => {
  if (busy) halt();
  spoil();
});
side.addEventListener("change", () => source && prepare());
run.addEventListener("click", start);
stop.addEventListener("click", () => {
  halt();
  say("Stopped.");
});
split.addEventListener("input", draw);
root.querySelectorAll('[name="heal-left"]').forEach((choice) => choice.addEventListener("change", () => size && draw()));
for (const kind of ["pointerdown", "pointermove"]) {
  canvas.addEventListener(kind, (event) => {
    if (split.disabled || !(event.buttons & 1)) return;
    const box = canvas.getBoundingClientRect();
    split.value = Math.round((100 * (event.clientX - box.left)) / box.width);
    draw();
  });
}
save.addEventListener("click", async () => {
  const whole = new OffscreenCanvas(size.cols, size.rows);
  whole.getContext("2d").putImageData(new ImageData(healed, size.cols, size.rows), 0, 0);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await whole.convertToBlob({ type: "image/png" }));
  link.download = "restored.png";
  link.click();
  URL.revokeObjectURL(link.href);
});
spoil();
run.disabled = true;
root.hidden = false;
