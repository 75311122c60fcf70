"""Everything that becomes a 28x28 image: readers, splits, transforms on the device, pictures.

    dataset = data.load("mnist")
    splits = data.split(dataset, config.data)

Imports `runtime`. Every other room may import it. Start with sources.py: `load`. files.py finds out what a path holds;
idx.py, npz.py, rows.py, parquet.py, folders.py, tfds.py and optdigits.py read one kind of source each and decide
nothing: pixels.py decides what their pixels mean, classes.py what their labels mean. transforms.py, the only one that
needs JAX, works inside the compiled step; pictures/ turns photos and drawings into images in MNIST's form.
"""

from digits.data.about import about, about_lines
from digits.data.dataset import SIDE, Dataset
from digits.data.sources import load
from digits.data.splits import Splits, indices, split
from digits.data.writers import writers_of

__all__ = ["SIDE", "Dataset", "Splits", "about", "about_lines", "indices", "load", "split", "writers_of"]
