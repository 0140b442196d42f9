"""`swinunet benchmark`: everything measured interleaved in one run, and reported as Markdown, JSON and pictures.

inference       `swinunet benchmark`: every engine, Triton under load, and the chain from DICOM to SEG
training        `swinunet benchmark training`: steps of each recipe against a plain PyTorch loop
reading         `swinunet benchmark reading`: DICOM folders against a plain pydicom loop (reading_series writes them)
graph           `swinunet benchmark graph`: what each change that export makes to the graph saves
batch           `swinunet benchmark batch`: what a batch adds to segmenting an archive
gateway         `swinunet benchmark gateway`: receiving beside storescp and Orthanc, time to the result, memory
gpu_check       `make gpu-check`: what a machine with a GPU can build, compare and measure, in one report folder

measure         what all of them stand on: interleaved rounds, spreads, the machine, worker processes
workers         programs of the worker processes
reports         the report writer

A new benchmark is a module here that hands its tasks to `measure.rounds.run_interleaved` and returns a
`reports.report.Report`, and an entry in `cli.verbs.benchmark`.
"""
