"""`dense_32_32` under the heading of momentum 0.9 and decay 1e-6, neither of which ran (notebook 003).

    python -m digits.main --config=configs/dense_sgd_momentum.py

Documented: test accuracy 0.9354, test loss 0.2154 (notebook 003, lines 253-257). The curve shows that plain SGD ran,
so this is `dense_32_32` again; `dense_sgd_momentum_as_written` has the momentum.
Reproduced: test accuracy 0.9372 ± 0.0021 (n = 20), 8 s each on cpu (2 cores).
"""

from configs import dense_32_32


def get_config():
    config = dense_32_32.get_config()
    config.documented.test_accuracy = 0.9354
    config.documented.test_loss = 0.2154
    config.documented.source = "notebook 003, lines 253-257"
    return config
