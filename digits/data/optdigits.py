"""The embedded dataset: 1,797 digits that scikit-learn carries, brought to MNIST's form."""

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from digits.data.pictures import mnist_form
from digits.data.source import Source


def read_optdigits() -> Source:
    """Reads the UCI test set of 1,797 handwritten digits that scikit-learn carries, and brings it into MNIST's form.

    Cuts out each digit of 8x8 pixels, enlarges it (bicubic) and places it as `pictures.mnist_form` does, so that a
    network trained on them can read pictures. Calculates in whole numbers, so that the pixels, and with them the
    digest, are the same on every machine.
    """
    images, labels = load_digits(return_X_y=True)
    images = np.round(images.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    brought = []
    for image in images:
        small = Image.fromarray(image)
        large = small.resize((80, 80), Image.Resampling.BICUBIC)
        left, top, right, bottom = box = large.point(lambda value: 255 * (value > 51)).getbbox()  # A fifth of full ink.
        scale = mnist_form.BOX / max(right - left, bottom - top)
        size = round((right - left) * scale), round((bottom - top) * scale)
        ink = small.resize(size, Image.Resampling.BICUBIC, [edge / 10 for edge in box])
        brought.append(mnist_form.placed(np.asarray(ink)))
    return Source([np.stack(brought), labels.astype(np.uint8)])
