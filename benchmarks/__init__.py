"""`swinunet benchmark`: latency, throughput and memory of every engine, measured interleaved in one run.

`swinunet benchmark training` is training_speed (the rounds), training_worker (one way to train) and training_report.
The rest is the benchmark of serving:

plan      what is measured: engines, batches, callers; a row more is a row more in the report
subject   the model version, its spec and the real slices
engines   how each engine loads and runs (in its own process: engine_worker)
children  worker processes: started, told what to do, gone with their parent
served    the same model through a real Triton, under callers of our own (caller_worker)
runner    the rounds
figures   rounds into spreads
report    report.md, report.json; plot: latency.png
"""
