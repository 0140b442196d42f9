// Segment with a served model over HTTP, knowing no more than its config; Node 18 or later, no packages:
//     node served_model.mjs VOLUME.f32 SLICES,ROWS,COLUMNS MODEL [HOST:PORT]
// VOLUME.f32 is what served_model.py takes. Writes VOLUME.labels (uint8 of the same shape) and prints the volumes.
import { readFileSync, writeFileSync } from "node:fs";
const [path, shape, model, address = "localhost:8000"] = process.argv.slice(2);
const [slices, rows, columns] = shape.split(",").map(Number);
const url = `http://${address}/v2/models/${model}`, local = { "swinunet-local": "yes" }; // what our server asks for
const stored = readFileSync(path), size = rows * columns;
const voxels = Float32Array.from({ length: slices * size }, (_, at) => stored.readFloatLE(4 * at));
const config = await (await fetch(`${url}/config`, { headers: local })).json();
const spec = JSON.parse(config.parameters.swinunet_spec.string_value), rule = spec.intensity;
if (`${rows},${columns}` !== `${spec.input_size}` || !spec.spacing_mm || spec.modalities)
  throw new Error(`${model} is for one modality, slices of ${spec.input_size} pixels at a known spacing`);

function normalise(values) { // as the model was trained on
  const [lowest, highest] = rule.scaled_to ?? [-1, 1], sorted = values.slice().sort();
  const percentile = (percent) => {
    const at = (sorted.length - 1) * percent / 100, below = Math.floor(at);
    return sorted[below] + (at - below) * (sorted[Math.min(below + 1, sorted.length - 1)] - sorted[below]);
  };
  const [low, high] = rule.rule === "window" ? [rule.low, rule.high]
    : [percentile(rule.low_percentile), percentile(rule.high_percentile)];
  const clipped = Float64Array.from(values, (x) => Math.min(Math.max(x, low), high));
  if (rule.rule === "window") return clipped.map((x) => (x - low) / (high - low) * (highest - lowest) + lowest);
  const mean = clipped.reduce((sum, x) => sum + x, 0) / clipped.length;
  const deviation = Math.sqrt(clipped.reduce((sum, x) => sum + (x - mean) ** 2, 0) / clipped.length) || 1;
  return clipped.map((x) => (x - mean) / deviation);
}
const bits = new DataView(new ArrayBuffer(4));
function half(value) { // the nearest float16, ties to even; below its normal range, 0
  bits.setFloat32(0, value);
  const sign = bits.getUint16(0) & 0x8000, magnitude = bits.getUint32(0) & 0x7fffffff;
  if (magnitude < 0x38800000) return sign;
  return sign | Math.min(0x7c00, (magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}
const halves = new Uint16Array(slices * size), part = (rule.per ?? "volume") === "volume" ? slices * size : size;
for (let at = 0; at < halves.length; at += part)
  halves.set(Uint16Array.from(normalise(voxels.subarray(at, at + part)), half), at);
const labels = new Uint8Array(slices * size), channels = spec.context_slices;
for (let start = 0; start < slices; start += config.max_batch_size) {
  const number = Math.min(config.max_batch_size, slices - start), image = new Uint16Array(number * channels * size);
  for (let n = 0; n < number; n++) for (let c = 0; c < channels; c++) { // neighbours are channels; the ends repeat
    const at = Math.min(Math.max(start + n + c - (channels >> 1), 0), slices - 1);
    image.set(halves.subarray(at * size, (at + 1) * size), (n * channels + c) * size);
  }
  const input = { name: "image", datatype: "FP16", shape: [number, channels, rows, columns],
    parameters: { binary_data_size: image.byteLength } };
  const output = { name: "labels", parameters: { binary_data: true } };
  const header = Buffer.from(JSON.stringify({ inputs: [input], outputs: [output] }));
  const headers = { ...local, "Inference-Header-Content-Length": `${header.length}` };
  const body = Buffer.concat([header, Buffer.from(image.buffer)]);
  const answer = await fetch(`${url}/infer`, { method: "POST", headers, body });
  if (!answer.ok) throw new Error(await answer.text());
  const skipped = Number(answer.headers.get("Inference-Header-Content-Length"));
  labels.set(new Uint8Array(await answer.arrayBuffer(), skipped), start * size);
}
writeFileSync(path.replace(/\.[^./]*$/, "") + ".labels", labels);
const ml = spec.spacing_mm[0] * spec.spacing_mm[1] * spec.context_step_mm / 1000;
for (const { name, index } of spec.labels)
  console.log(`${name}: ${(labels.reduce((sum, label) => sum + (label === index), 0) * ml).toFixed(3)} ml`);
