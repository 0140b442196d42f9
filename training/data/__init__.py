"""Labelled images in: which cases a folder holds, what they are like, the spec that follows, and their slices."""
