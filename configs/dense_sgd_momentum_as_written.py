"""`dense_sgd_momentum` with SGD of momentum 0.9 and decay 1e-6, as notebook 003 says it did.

    python -m digits.main --config=configs/dense_sgd_momentum_as_written.py

Documented: never run, because the notebook compiles with optimizer="sgd" and so gets plain SGD at 0.01.
Reproduced: test accuracy 0.9661 ± 0.0016 (n = 20), 7 s each on cpu (2 cores).
"""

from configs import dense_32_32


def get_config():
    config = dense_32_32.get_config()
    dense_32_32.use_momentum_and_decay(config, learning_rate=0.01)
    return config
