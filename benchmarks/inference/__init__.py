"""`swinunet benchmark`: every engine, Triton and the whole chain, measured interleaved in one run.

benchmark      the run: what follows, put together
settings       what is measured: engines, batches, loads on Triton; a new engine is one more entry here
model_version  the model version and the real slices; untrained: a recipe's network where there is no model
engines        every engine by itself; matrix_peaks: how fast this machine multiplies matrices
triton         Triton under load; served_model: a server with its callers; perf_analyzer: NVIDIA's; wire: bytes sent
chain          a DICOM series through client and server to DICOM SEG, stage by stage
gpu            the network on a GPU, where there is one
result         what was found; goals: which goals that reaches
report         the report, from tables, explanations and charts
"""
