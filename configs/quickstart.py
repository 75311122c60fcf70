"""A small CNN on the embedded dataset: nothing to download, well under a minute on a laptop.

    python -m digits.main --config=configs/quickstart.py
"""

from configs import simple_cnn


def get_config():
    config = simple_cnn.get_config()
    config.data.name = "optdigits"
    return config
