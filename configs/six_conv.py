"""Six convolutions, each followed by pooling, BatchNorm and dropout (notebook 001).

    python -m digits.main --config=configs/six_conv.py

Documented: test accuracy 0.9938, test loss 0.0227, as validation in the last epoch (notebook 001, lines 811-812). The
0.9951 that the notebook prints for this model was evaluated on `two_conv`.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.epochs = 20
    config.batch_size = 100
    config.data.validation = "test"
    config.model.family = "cnn"
    config.model.blocks = ((16,), (32,), (64,), (96,), (128,), (160,))
    config.model.kernel_size = (3, 3, 3, 5, 5, 5)
    config.model.pool = (1, 1, 1, 1, 2, 2)
    config.model.kernel_init = "he_normal"
    config.model.batch_norm = "block"
    config.model.block_dropout = (0.5, 0.5, 0.5, 0.3, 0.3, 0.3)
    config.model.hidden = (256, 128)
    config.model.hidden_batch_norm = (True, False)
    config.model.hidden_dropout = 0.3
    config.documented.test_accuracy = 0.9938
    config.documented.test_loss = 0.0227
    config.documented.source = "notebook 001, lines 811-812; the 0.9951 it prints later is of another model"
    return config
