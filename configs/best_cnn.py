"""As accurate as one network can be in minutes on an ordinary CPU (docs/records.md).

    python -m digits.main --config=configs/best_cnn.py

Four convolutions see every image turned, shifted and scaled, each time anew.
Reproduced: test accuracy 0.9963 ± 0.0004 (n = 20), 161 s each on cpu (Intel(R) Xeon(R) with AVX-512, 2 cores).
"""

from ml_collections import ConfigDict

from configs import fast_995


def get_config() -> ConfigDict:
    config = fast_995.get_config()
    config.epochs = 10

    config.model.blocks = ((32,), (64,), (64,), (128,))
    config.model.kernel_size = (5, 3, 3, 3)
    config.model.pool = (2, 1, 2, 1)

    config.augment.rotation = 10.0
    config.augment.zoom = 0.05

    config.optimizer.learning_rate = 0.01
    return config
