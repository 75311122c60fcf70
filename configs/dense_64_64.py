"""`dense_32_32` with hidden layers of 64 (notebook 003).

    python -m digits.main --config=configs/dense_64_64.py

Documented: test accuracy 0.9425, test loss 0.1958 (notebook 003, lines 193-197). The batch size of 64 is inferred.
Reproduced: test accuracy 0.9430 ± 0.0016 (n = 20), 12 s each on cpu (2 cores).
"""

from configs import dense_32_32


def get_config():
    config = dense_32_32.get_config()
    config.model.hidden = (64, 64)
    config.documented.test_accuracy = 0.9425
    config.documented.test_loss = 0.1958
    config.documented.source = "notebook 003, lines 193-197"
    return config
