"""`simple_cnn` with dropout after both blocks and the hidden layer (notebook 004).

    python -m digits.main --config=configs/simple_cnn_dropout.py

Documented: test accuracy 0.9917 (notebook 004, lines 2034-2039).
Reproduced: test accuracy 0.9917 ± 0.0008 (n = 10), 190 s each on cpu (2 cores).
"""

from configs import simple_cnn


def get_config():
    config = simple_cnn.get_config()
    config.model.block_dropout = 0.25
    config.model.hidden_dropout = 0.5
    config.documented.test_accuracy = 0.9917
    config.documented.source = "notebook 004, lines 2034-2039"
    return config
