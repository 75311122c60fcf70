"""`dense_32_32` with batches of 32 (notebook 003).

    python -m digits.main --config=configs/dense_batch_32.py

Documented: training accuracy 0.9525 in epoch 18 of 20; the rest and the test figures are lost (notebook 003, lines
338-396). Plain SGD ran; `dense_batch_32_as_written` has the momentum and decay of the text.
Reproduced: test accuracy 0.9524 ± 0.0016; training accuracy, epoch 18 0.9547 ± 0.0016 (n = 20), 8 s each on cpu (2
cores).
"""

from configs import dense_32_32


def get_config():
    config = dense_32_32.get_config()
    config.batch_size = 32
    config.documented.test_accuracy = None
    config.documented.source = "notebook 003, lines 338-396; the final evaluation is lost"
    return config
