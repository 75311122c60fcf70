"""A run's folder, written and read: workdir, checkpoints, files, TensorBoard, a sweep's folder, loading.

Imports `models`, `analysis`, `data` and `runtime`; `training`, `reports`, `serving` and `sweeps` may import it. Start
with workdir.py: the files of one run. Every file is written whole or not at all (files.py) and read with suspicion.
loading.py opens trained runs on any machine: `digits.load`; loaded.py has the objects that it returns.
"""
