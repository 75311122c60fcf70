"""Three hidden layers of 32 (notebook 003).

    python -m digits.main --config=configs/dense_32_32_32.py

Documented: test accuracy 0.9596, test loss 0.1383 (notebook 003, lines 452-456). The batch size of 32 is inferred.
Reproduced: test accuracy 0.9588 ± 0.0016 (n = 20), 17 s each on cpu (2 cores).
"""

from configs import dense_32_32


def get_config():
    config = dense_32_32.get_config()
    config.batch_size = 32
    config.model.hidden = (32, 32, 32)
    config.documented.test_accuracy = 0.9596
    config.documented.test_loss = 0.1383
    config.documented.source = "notebook 003, lines 452-456"
    return config
