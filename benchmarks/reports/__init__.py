"""What a benchmark writes.

report   the one writer: tables, explanations and figures of a run as Markdown, JSON and pictures
numbers  figures and their spread as text
"""
