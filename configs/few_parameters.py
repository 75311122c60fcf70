"""As accurate as possible with few trained parameters (docs/records.md).

    python -m digits.main --config=configs/few_parameters.py

Depthwise and pointwise convolutions have few weights, and an average over the image has none.
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.epochs = 20
    config.batch_size = 64
    config.monitor = "loss"
    config.tensorboard = False

    config.model.family = "cnn"
    config.model.blocks = ((8,), (16,), (16,))
    config.model.kernel_size = 3
    config.model.separable = (False, True, True)
    config.model.conv_bias = False
    config.model.pool = (2, 2, 1)
    config.model.batch_norm = "block"
    config.model.global_pool = "average"
    config.model.hidden = ()

    config.optimizer.learning_rate = 0.05
    config.schedule.name = "one_cycle"
    return config
