"""`swinunet benchmark`: every engine, Triton and the whole chain, measured interleaved in one run.

`swinunet benchmark training` is training_speed (the rounds), training_worker (one way to train) and training_report.
The rest is the benchmark of serving:

plan      what is measured: engines, batches, loads; a row more is a row more in the report
subject   the model version, its spec and the real slices; standard: a recipe's network where there is no model
children  worker processes: started, told what to do, gone with their parent
runner    the rounds; stations and triton_station: what a round visits, in processes of its own
          engines (engine_worker), matrix-multiply peaks (gemm_worker), Triton (served, caller_worker, perf_analyzer,
          wire), a GPU where there is one (gpu, gpu_worker), the whole chain from DICOM to SEG (chain, chain_worker)
result    what was found; figures: rounds into spreads; verdict: which goals it reaches
wording   figures for readers
report    report.md, report.json, from tables and notes; plot: the pictures
"""
