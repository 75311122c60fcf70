"""Records and tells what the data of a run are: the images of each class in each split, and notes."""

from typing import Any

import numpy as np

from digits.data.classes import listed
from digits.data.dataset import Dataset
from digits.data.splits import Splits

_SPLITS = {"train": "training", "validation": "validation", "test": "test"}


def about(dataset: Dataset, splits: Splits) -> dict[str, Any]:
    """The record of a run's data, for its files: `about(dataset, data.split(dataset, config.data))["classes"]`.

    Returns:
      The dataset's digest and notes, the number of images by split, and, under "classes", by split and class:
      `{"train": {"0": 5923, ...}, "test": {...}}`.
    """
    parts = {split: getattr(splits, split) for split in _SPLITS}
    names = dataset.class_names
    return {
        "digest": dataset.digest(),
        **{split: len(examples[1]) if examples else 0 for split, examples in parts.items()},
        "classes": {
            split: dict(zip(names, np.bincount(examples[1], minlength=len(names)).tolist(), strict=True))
            for split, examples in parts.items()
            if examples
        },
        "notes": list(dataset.notes),
    }


def about_lines(record: dict[str, Any]) -> list[str]:
    """Tells the record of `about`: the images of each class in a line, then which classes a split lacks, and the notes.

        images of each class (0, 1): training 12, 13; test 4, 5

    A record of an earlier version, which has no classes, gives no line.
    """
    if "classes" not in record:
        return []
    parts, notes = [], []
    for split, counts in record["classes"].items():
        few, most = min(counts.values()), max(counts.values())
        if few == most:
            numbers = f"{few:,} of each"
        else:
            numbers = ", ".join(map(str, counts.values())) if len(counts) <= 10 else f"{few:,} to {most:,}"
        parts.append(f"{_SPLITS[split]} {numbers}")
        if missing := [name for name, count in counts.items() if not count]:
            lost = "the network cannot learn it" if split == "train" else "the figures say nothing about it"
            notes.append(f"{_SPLITS[split]} has no image of {listed(missing)}: {lost}")
    line = f"images of each class ({listed(list(record['classes']['train']))}): {'; '.join(parts)}"
    return [line, *(f"note: {note}" for note in [*notes, *record["notes"]])]
