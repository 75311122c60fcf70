"""`five_conv` without BatchNorm and dropout (notebook 001).

    python -m digits.main --config=configs/five_conv_plain.py

Documented: test accuracy 0.9927, test loss 0.0346 (notebook 001, lines 1056-1057). Validated on the test set.
Reproduced: test accuracy 0.9910 ± 0.0007 (n = 5), 760 s each on cpu (AMD EPYC, 2 cores).
"""

from configs import five_conv


def get_config():
    config = five_conv.get_config()
    config.model.batch_norm = "none"
    config.model.block_dropout = 0.0
    config.model.hidden_dropout = 0.0
    config.documented.test_accuracy = 0.9927
    config.documented.test_loss = 0.0346
    config.documented.source = "notebook 001, lines 1056-1057"
    return config
