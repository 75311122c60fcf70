"""A notebook's training as its reader runs it in Keras 3: python -m benchmarks.contestants.keras_notebook FOLDER SEED.

`ImageDataGenerator` augments the images on the host while `fit` trains, validates after every epoch, and is told the
learning rate by a callback. FOLDER has the problem and the arrays that `benchmarks.notebook` wrote. The last line of
the output is a JSON object with the accuracies and, about the contestant, the versions.
"""

import json
import os
import sys

import numpy as np

from benchmarks import problem, worker
from benchmarks.contestants import keras_fit


def main() -> None:
    worker.die_with_the_driver()
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import tensorflow as tf

    task = problem.read(sys.argv[1])
    config, augment = task.config, task.config["augment"]
    keras.utils.set_random_seed(int(sys.argv[2]))

    def arrays(part):
        images, labels = (np.load(task.folder / f"notebook_{part}_{name}.npy") for name in ("images", "labels"))
        return images[..., None] / 255, np.eye(task.classes)[labels]

    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        rotation_range=augment["rotation"],
        shear_range=augment["shear"],
        zoom_range=augment["zoom"],
        width_shift_range=augment["width_shift"],
        height_shift_range=augment["height_shift"],
    )
    batches = generator.flow(*arrays("train"), batch_size=task.batch_size)
    batches.workers, batches.use_multiprocessing = 5, True  # As in notebook 000.
    model = keras_fit.build(task.layers)
    model.compile(
        optimizer=keras_fit.make_optimizer(config["optimizer"]),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=config["label_smoothing"]),
        metrics=["accuracy"],
    )
    rates = keras.callbacks.LearningRateScheduler(lambda epoch: float(task.rates[epoch * task.steps_per_epoch]))
    history = model.fit(
        batches, epochs=config["epochs"], validation_data=arrays("validation"), callbacks=[rates], verbose=2
    ).history
    _, test_accuracy = model.evaluate(*arrays("test"), verbose=0)
    content = {"val_accuracy": history["val_accuracy"][-1], "test_accuracy": test_accuracy}
    print(json.dumps(content | {"about": {"versions": worker.versions(("keras", "tensorflow"))}}))


if __name__ == "__main__":
    main()
