"""Everything that becomes a 28x28 image: readers, splits, transforms on the device, pictures.

    dataset = data.load("mnist")
    splits = data.split(dataset, config.data)

Imports `runtime`. Every other room may import it. Start with sources.py: `load`. idx.py, npz.py, folders.py, tfds.py
and optdigits.py read one kind of source each; transforms.py, the only one that needs JAX, works inside the compiled
step; pictures/ turns photos and drawings into images in MNIST's form.
"""

from digits.data.dataset import SIDE, Dataset
from digits.data.sources import load
from digits.data.splits import Splits, indices, split
from digits.data.writers import writers_of

__all__ = ["SIDE", "Dataset", "Splits", "indices", "load", "split", "writers_of"]
