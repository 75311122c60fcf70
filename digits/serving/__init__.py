"""Trained networks at work: reading pictures, the page to draw on, exports.

Imports `runs` and the rooms below, never `training`; only commands and the notebook import it. Start with reading.py,
which reads pictures. drawing_page.py makes the page to draw on from the files in page/. exporting.py writes a run for
other programs, in the formats of export_formats.py, export_onnx.py and export_html.py; demo_server.py serves the page
and answers its questions, and http_server.py receives them.
"""
