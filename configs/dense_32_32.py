"""Two hidden layers of 32 on column-normalised pixels, plain SGD (notebook 003).

    python -m digits.main --config=configs/dense_32_32.py

Documented: test accuracy 0.9370 (notebook 003, lines 104-107, printed as validation accuracy; there is no validation).
Reproduced: test accuracy 0.9372 ± 0.0021 (n = 20), 8 s each on cpu (2 cores).
"""

from configs import base


def get_config():
    config = base.get_config()
    config.epochs = 20
    config.batch_size = 64
    config.data.normalization = "column_l2"
    config.model.hidden = (32, 32)
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.01
    config.documented.test_accuracy = 0.9370
    config.documented.source = "notebook 003, lines 104-107"
    return config


def use_momentum_and_decay(config, learning_rate):
    """The optimizer that notebook 003 creates but never passes on: SGD, momentum 0.9, a decay of 1e-6 an update."""
    config.optimizer.learning_rate = learning_rate
    config.optimizer.momentum = 0.9
    config.schedule.name = "inverse_time"
    config.schedule.decay = 1e-6
    config.documented.test_accuracy = None
    config.documented.source = "notebook 003 never ran this; its figures are of plain SGD at 0.01"
