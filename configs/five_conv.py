"""Five convolutions with BatchNorm and dropout, the base of the ablations (notebook 001).

    python -m digits.main --config=configs/five_conv.py

Documented: test accuracy 0.9937, test loss 0.0232 (notebook 001, lines 573-584). The notebook validates on the test
set.
Reproduced: test accuracy 0.9937 ± 0.0010 (n = 5), 1001 s each on cpu (AMD EPYC, 2 cores).
"""

from configs import base


def get_config():
    config = base.get_config()
    config.epochs = 20
    config.batch_size = 100
    config.data.validation = "test"
    config.model.family = "cnn"
    config.model.blocks = ((32, 32), (64, 64), (128,))
    config.model.kernel_size = (3, 2, 5)
    config.model.pool = (2, 2, 0)
    config.model.kernel_init = "he_normal"
    config.model.batch_norm = "block"
    config.model.block_dropout = (0.5, 0.5, 0.4)
    config.model.hidden = (256, 128)
    config.model.hidden_dropout = 0.4
    config.documented.test_accuracy = 0.9937
    config.documented.test_loss = 0.0232
    config.documented.source = "notebook 001, lines 573-584"
    return config
