"""Two hidden layers of 128 with dropout 0.5 on the pixels and after each (notebook 003).

    python -m digits.main --config=configs/dense_dropout.py

Documented: test accuracy 0.9452, test loss 0.1805 (notebook 003, lines 534-538). Plain SGD ran;
`dense_dropout_as_written` has the momentum and decay of the text.
Reproduced: test accuracy 0.9451 ± 0.0013 (n = 20), 28 s each on cpu (2 cores).
"""

from configs import dense_32_32


def get_config():
    config = dense_32_32.get_config()
    config.batch_size = 32
    config.model.hidden = (128, 128)
    config.model.input_dropout = 0.5
    config.model.hidden_dropout = 0.5
    config.documented.test_accuracy = 0.9452
    config.documented.test_loss = 0.1805
    config.documented.source = "notebook 003, lines 534-538"
    return config
