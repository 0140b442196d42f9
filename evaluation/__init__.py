"""`swinunet evaluate`: a model or a folder of predictions against labelled volumes, and one result against another.

selection    which cases of a data folder, by split file or by name
predictions  what is judged: anything that predicts the label map of a case; and a folder of finished label maps
predictors   the predictor of a checkpoint, an ONNX file or a model on Triton
run          predict and score each case
result       the figures of an evaluation, and the JSON they are kept in
summary      the mean scores of each class
report       evaluation.json, evaluation.md; plot: evaluation.png
compare      whether the difference between two results is real

Scores of a case and statistics over cases are in `swinunet.training.metrics`, which training uses as well.
"""
