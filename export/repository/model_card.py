"""The model card, generated from the spec that travels with the weights."""

from __future__ import annotations

from swinunet.imaging import ModelSpec, Window, ZScore
from swinunet.training.network.recipes import gflop, parameters
from swinunet.training.network.swin_unet import SwinUNetConfig


def model_card(spec: ModelSpec, config: SwinUNetConfig) -> str:
    """Markdown: what the model is, what it was trained on, how well it does, how it was made."""
    provenance = spec.provenance
    labels = "\n".join(
        f"| {label.index} | {label.name} | {label.type.meaning} ({label.type.scheme} {label.type.value})"
        f"{f', {label.modifier.meaning}' if label.modifier else ''} |"
        for label in spec.labels
    )
    metrics = (
        "\n".join(f"| {name} | {value:g} |" for name, value in provenance.metrics.items()) or "| none recorded | |"
    )
    spacing = (
        "stretched to the input" if spec.spacing_mm is None else f"{spec.spacing_mm[0]:g} x {spec.spacing_mm[1]:g} mm"
    )
    intensity = _intensity(spec.intensity)
    if spec.intensities:
        rules = zip(spec.modalities, spec.intensities, strict=True)
        intensity = "; ".join(f"{name}: {_intensity(rule)}" for name, rule in rules)
    channels = f"{spec.context_slices} neighbouring slices {spec.context_step_mm:g} mm apart as channels"
    if spec.context_slices == 1:
        channels = "each slice by itself"
    if spec.modalities:
        channels = f"{', '.join(spec.modalities)} (co-registered), of each {channels}"
    planes = ", ".join("acquired (as they were taken)" if plane == "acquired" else plane for plane in spec.planes)
    if len(spec.readings) > 1:
        planes += f"{' and their mirror images' if spec.mirrored else ''} (probabilities averaged)"
    pieces = "Of the mask, the largest connected piece is kept." if spec.components == "largest" else ""
    return f"""# {spec.name}, version {spec.version}

Swin-UNet (Cao et al., arXiv 2105.05537): {parameters(config) / 1e6:.2f} M parameters, {gflop(config):.2f} GFLOP a slice; embed {config.embed_dim}, depths {config.depths}, patches of {config.patch_size}, windows of {config.window_size}.

**Input**: {spec.modality}, {spec.body_part or "any body part"}, {planes} slices of {spec.input_size[0]} x {spec.input_size[1]} pixels at {spacing}, {channels}; {intensity}. {pieces}

| label | structure | code |
|---|---|---|
{labels}

**Data**: {provenance.dataset or "not recorded"}. Source: {provenance.attribution or "not recorded"}. Licence: {provenance.licence or "not recorded"}.

**Split**: {provenance.split or "not recorded"} (seed {provenance.seed}).

| metric (validation cases, native grid) | value |
|---|---|
{metrics}

**Made by**: `{provenance.command or "not recorded"}`

**Checkpoint** SHA-256: `{provenance.checkpoint_sha256}`

**Proof** that every engine here segments like it: `GATE.md`, in full `gate.json`.

Not a medical device. {_where_it_looks(spec)}
"""  # noqa: E501 - a paragraph is a line in Markdown


def _where_it_looks(spec: ModelSpec) -> str:
    if spec.locating:
        return (
            f"It finds the boxes of other models in a whole {spec.locating.whole} (docs/head-locator.md); its own mask "
            "is a place to look at, no segmentation."
        )
    if spec.boxes:
        return (
            f"Trained on crops around the organ: {spec.boxes.locator} finds its boxes, with a margin of "
            f"{spec.boxes.margin_mm:g} mm (docs/head-locator.md), or the user gives them (`--roi`)."
        )
    if spec.larger_slices == "middle":
        return "It takes whole images as they come; of slices larger than its input it reads the middle."
    if spec.spacing_mm is None:
        return "It takes whole images as they come, each slice stretched to its input."
    rows_mm, columns_mm = (pixels * mm for pixels, mm in zip(spec.input_size, spec.spacing_mm, strict=True))
    return (
        f"It takes images whose slices fit {rows_mm:.0f} x {columns_mm:.0f} mm, like those it was trained on; of "
        "larger ones the user gives the box (`--roi`)."
    )


def _intensity(rule: ZScore | Window) -> str:
    if isinstance(rule, ZScore):
        between = f"{rule.low_percentile:g} and {rule.high_percentile:g}"
        whose = {"view": "slice's field of view"}.get(rule.per, rule.per)
        return f"z-score per {whose} after clipping to percentiles {between}"
    return f"window {rule.low:g} to {rule.high:g}, scaled to {rule.scaled_to[0]:g}..{rule.scaled_to[1]:g}"
