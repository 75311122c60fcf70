"""`dense_batch_32` with SGD of momentum 0.9 and decay 1e-6, as notebook 003 says it did.

    python -m digits.main --config=configs/dense_batch_32_as_written.py

Documented: never run, because the notebook compiles with optimizer="sgd" and so gets plain SGD at 0.01.
Reproduced: test accuracy 0.9666 ± 0.0022 (n = 20), 8 s each on cpu (2 cores).
"""

from configs import dense_32_32


def get_config():
    config = dense_32_32.get_config()
    config.batch_size = 32
    dense_32_32.use_momentum_and_decay(config, learning_rate=0.01)
    return config
