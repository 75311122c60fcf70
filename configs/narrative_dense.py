"""The dense network with which notebook 002's learning log begins, as we read it: ReLU layers of 256 and 128.

    python -m digits.main --config=configs/narrative_dense.py

Documented: about 0.98 in the text, without any code (notebook 002, lines 121-123); network and settings are ours.
Reproduced: test accuracy 0.9788 ± 0.0018 (n = 5), 30 s each on cpu (AMD EPYC with AVX2, 2 cores).
"""

from configs import narrative_cnn


def get_config():
    config = narrative_cnn.get_config()
    config.model.family = "dense"
    config.model.blocks = ()
    config.model.hidden = (256, 128)
    config.documented.source = "notebook 002, lines 121-123: about 0.98 in its text, without code"
    return config
