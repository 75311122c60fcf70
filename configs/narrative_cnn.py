"""The first CNN of notebook 002's learning log, as we read it: two convolutions, nothing against overfitting.

    python -m digits.main --config=configs/narrative_cnn.py

Documented: about 0.991 in the text, without any code (notebook 002, lines 125-131); network and settings are ours. The
four narrative configs differ in what the log's step adds and in nothing else, and this one has about as many parameters
as `narrative_dense`.
Reproduced: test accuracy 0.9909 ± 0.0013 (n = 5), 392 s each on cpu (AMD EPYC with AVX2, 2 cores).
"""

from configs import base


def get_config():
    config = base.get_config()
    config.epochs = 20
    config.batch_size = 64
    config.data.validation = "random(0.1, 42)"
    config.model.family = "cnn"
    config.model.blocks = ((32,), (64,))
    config.model.hidden = (128,)
    config.documented.source = "notebook 002, lines 125-131: about 0.991 in its text, without code"
    return config


def regularise(config):
    """The log's next step, with the strengths of the notebook's final model: BatchNorm, dropout and L2."""
    config.model.batch_norm = "conv"
    config.model.block_dropout = 0.25
    config.model.hidden_batch_norm = True
    config.model.hidden_dropout = 0.5
    config.model.hidden_l2 = 0.001
