"""`narrative_cnn` with BatchNorm, dropout and L2: the third step of notebook 002's learning log, as we read it.

    python -m digits.main --config=configs/narrative_regularised.py

Documented: the text gives no figure for it (notebook 002, lines 133-143). Losses include the L2 penalty.
Reproduced: test accuracy 0.9916 ± 0.0004 (n = 5), 756 s each on cpu (AMD EPYC with AVX2, 2 cores).
"""

from configs import narrative_cnn


def get_config():
    config = narrative_cnn.get_config()
    narrative_cnn.regularise(config)
    config.documented.source = "notebook 002, lines 133-143: no figure in its text, no code"
    return config
