"""`simple_cnn` with BatchNorm after every convolution and the hidden layer (notebook 004).

    python -m digits.main --config=configs/simple_cnn_batchnorm.py

Documented: test accuracy 0.9910 (notebook 004, lines 2114-2119).
Reproduced: test accuracy 0.9903 ± 0.0012 (n = 10), 222 s each on cpu (2 cores).
"""

from configs import simple_cnn


def get_config():
    config = simple_cnn.get_config()
    config.model.batch_norm = "conv"
    config.model.hidden_batch_norm = True
    config.documented.test_accuracy = 0.9910
    config.documented.source = "notebook 004, lines 2114-2119"
    return config
