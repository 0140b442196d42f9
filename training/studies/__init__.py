"""How models of this project are trained and judged beyond validation Dice: their data made, their weak spots measured.

Kept because the figures that a model card quotes must be measurable again; each file runs with `python -m`.
"""
