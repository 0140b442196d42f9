"""`make gpu-check`: one command for whoever has a GPU; python -m swinunet.benchmarks.gpu_check.

settings  which engines, batches and time limits; what an engine needs that may be missing
result    what was found of each engine with each model
rows      one engine with one model, in a process of its own
roofline  measured peaks of the machine, and what each batch of a model takes
check     the whole run
report    tables, picture, and the limit on the folder's size
"""
