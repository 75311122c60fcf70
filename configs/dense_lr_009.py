"""`dense_batch_32` under the heading of learning rate 0.09 and momentum 0.9, neither of which ran (notebook 003).

    python -m digits.main --config=configs/dense_lr_009.py

Documented: training accuracy 0.9561 in epoch 18 of 20; the rest and the test figures are lost (notebook 003, lines
545-604). The curve shows that plain SGD at 0.01 ran; `dense_lr_009_as_written` has the rate and the momentum.
Reproduced: test accuracy 0.9524 ± 0.0016; training accuracy, epoch 18 0.9547 ± 0.0016 (n = 20), 8 s each on cpu (2
cores).
"""

from configs import dense_32_32


def get_config():
    config = dense_32_32.get_config()
    config.batch_size = 32
    config.documented.test_accuracy = None
    config.documented.source = "notebook 003, lines 545-604; the final evaluation is lost"
    return config
