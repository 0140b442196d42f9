"""`swinunet evaluate`: a model or a folder of predictions against labelled volumes, and one result against another.

selection    which cases of a data folder, by split file or by name
predictions  what is judged: anything that gives a label map of a case; here, a folder of them
run          predict and score each case
result       what was found, and the JSON it is kept in
statistics   means with bootstrap intervals, paired tests
summary      scores of cases into a line a class
report       evaluation.json, evaluation.md; plot: evaluation.png
compare      is the difference between two results real?

Predictors that need ONNX Runtime or Triton are in `swinunet.evaluation.predictors`.
"""
