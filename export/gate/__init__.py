"""The promotion gate: does every engine of a model version segment like the checkpoint it came from?

options        which engines must pass, and what else is asked
evidence       real slices and volumes to judge on
wire_contract  what an ONNX artefact must look like before it is run
tensors        outputs against PyTorch float32, with Polygraphy, at several batches
masks          masks against labels and against the checkpoint's: Dice, HD95, ml, flipped labels
served         the version in a real Triton, over gRPC
bisect         the first layer of a graph that drifts
report         what was found, as JSON, Markdown and a table
judge          all of it, for one version folder

The limits are in `export/tolerances.py`, the engines in `export/engines/registry.py`.
"""
