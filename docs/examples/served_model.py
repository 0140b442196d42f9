"""Segment with a served model, knowing no more than its config: NumPy and tritonclient[grpc] are enough.

    python served_model.py VOLUME.f32 SLICES,ROWS,COLUMNS MODEL [HOST:PORT]

VOLUME.f32: raw little-endian float32 [slices, rows, columns] along the model's plane and on its grid, which are slices
of `input_size` pixels of `spacing_mm`, `context_step_mm` apart. Writes VOLUME.labels (uint8 of the same shape). Reads
the slices once; `swinunet segment` also resamples, averages the model's further planes and keeps its components.
"""

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc as grpcclient


def normalise(voxels: np.ndarray, rule: dict) -> np.ndarray:
    """Intensities as the model was trained on: the `intensity` of its spec."""
    if rule["rule"] == "window":
        low, high, (lowest, highest) = rule["low"], rule["high"], rule.get("scaled_to", (-1, 1))
        return (np.clip(voxels, low, high) - low) / (high - low) * (highest - lowest) + lowest
    if rule.get("per", "volume") != "volume":
        return np.stack([normalise(each, {**rule, "per": "volume"}) for each in voxels])
    low, high = np.percentile(voxels, [rule["low_percentile"], rule["high_percentile"]])
    clipped = np.clip(voxels, low, high).astype(np.float64)
    return (clipped - clipped.mean()) / (clipped.std() or 1)


def with_context(slices: np.ndarray, number: int) -> np.ndarray:
    """Each slice between its neighbours, as the channels of an image: [N, number, H, W]; the ends are repeated."""
    at = np.arange(len(slices))[:, None] + np.arange(number) - number // 2
    return slices[np.clip(at, 0, len(slices) - 1)]


def segment(voxels: np.ndarray, model: str, url: str) -> tuple[dict, np.ndarray]:
    """The model's spec, and the label of each voxel."""
    client = grpcclient.InferenceServerClient(url)
    config = client.get_model_config(model, as_json=True)["config"]
    spec = json.loads(config["parameters"]["swinunet_spec"]["string_value"])
    if list(voxels.shape[1:]) != spec["input_size"] or not spec["spacing_mm"] or spec.get("modalities"):
        sys.exit(f"slices are {voxels.shape[1:]}; {model} is for one modality, {spec['input_size']} at a known spacing")
    images = with_context(normalise(voxels, spec["intensity"]), spec["context_slices"]).astype(np.float16)
    labels = []
    for start in range(0, len(images), config["max_batch_size"]):
        batch = images[start : start + config["max_batch_size"]]
        tensor = grpcclient.InferInput("image", batch.shape, "FP16")
        tensor.set_data_from_numpy(batch)
        labels.append(client.infer(model, [tensor]).as_numpy("labels"))
    return spec, np.concatenate(labels)


if __name__ == "__main__":
    path, shape, name = Path(sys.argv[1]), [int(each) for each in sys.argv[2].split(",")], sys.argv[3]
    spec, labels = segment(np.fromfile(path, "<f4").reshape(shape), name, (sys.argv[4:] or ["localhost:8001"])[0])
    path.with_suffix(".labels").write_bytes(labels.tobytes())
    voxel_ml = spec["spacing_mm"][0] * spec["spacing_mm"][1] * spec["context_step_mm"] / 1000
    for label in spec["labels"]:
        print(f"{label['name']}: {np.count_nonzero(labels == label['index']) * voxel_ml:.3f} ml")
