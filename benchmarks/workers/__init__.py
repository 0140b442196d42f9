"""Programs that run in processes of their own, so that the memory and threads of each are its own.

A benchmark starts one with `measure.processes.WorkerProcess("engine_worker")`; it then waits for orders.

engine_worker    one engine                         caller_worker    one caller of Triton
chain_worker     the client, from DICOM to SEG      gpu_worker       the network on a GPU
gemm_worker      matrix products                    reading_worker   one DICOM folder, read once
training_worker  one way to train                gpu_check_worker one row of `make gpu-check`
"""
