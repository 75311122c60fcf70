"""A small CNN on the embedded dataset of 1,797 digits: nothing to download, well under a minute on a laptop.

    python -m digits.main --config=configs/quickstart.py

Documented nowhere; this is the project's own.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.epochs = 15
    config.batch_size = 32
    config.data.name = "optdigits"
    config.data.validation = "random(0.15, 0)"
    config.model.family = "cnn"
    config.model.blocks = ((32,), (64,))
    config.model.block_dropout = 0.25
    config.model.hidden = (64,)
    config.augment.rotation = 10.0
    config.augment.width_shift = 0.05
    config.augment.height_shift = 0.05
    config.early_stopping.restore_best = True
    return config
