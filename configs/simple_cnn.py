"""Two convolutions without regularisation (notebook 004).

    python -m digits.main --config=configs/simple_cnn.py

Documented: test accuracy 0.9918 (notebook 004, lines 1519-1524).
Reproduced: test accuracy 0.9898 ± 0.0018 (n = 10), 177 s each on cpu (2 cores).
"""

from configs import base


def get_config():
    config = base.get_config()
    config.epochs = 10
    config.batch_size = 32
    config.data.validation = "last(10000)"
    config.model.family = "cnn"
    config.model.blocks = ((32,), (64,))
    config.model.hidden = (64,)
    config.documented.test_accuracy = 0.9918
    config.documented.source = "notebook 004, lines 1519-1524"
    return config
