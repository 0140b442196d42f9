"""What a benchmark writes.

report   the one writer: tables, explanations and figures of a run as Markdown, JSON and pictures
goals    what a benchmark wants to find, and whether it did
numbers  figures and their spread as text
"""
