"""Trained networks at work: reading pictures, the page to draw on, exports.

Imports `runs` and the rooms below, never `training`; only commands and the notebook import it. Start with reading.py,
which reads pictures. exporting.py writes a run for other programs, in the formats of export_formats.py and
export_onnx.py; demo_server.py answers the requests of demo.html, and http_server.py receives them.
"""
