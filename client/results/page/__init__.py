"""The result page: what a person judges a result with, in one file that opens from disk and asks for nothing.

preview        the image and its mask, small enough for a browser
sections       what the page says beside the picture
explanations   stages, checks and quality flags in words
page.js, page.css, niivue.js (NiiVue 0.69.0, BSD-2-Clause: niivue.LICENSE)
"""
