"""Labelled images in: which cases a folder holds, what they are like, and the batches that training sees."""
