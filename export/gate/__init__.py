"""The promotion gate: does every engine of a model version segment like the checkpoint it came from?

rows      the engines that are judged, and what each precision is allowed
evidence  real slices and volumes to judge on
tensors   outputs against PyTorch float32, with Polygraphy, at several batches
clinic    masks against labels and against the checkpoint's: Dice, HD95, ml, flipped labels
served    the version in a real Triton, over gRPC
bisect    the first layer of a graph that drifts
report    what was found, as JSON, Markdown and a table
judge     all of it, for one version folder
"""
