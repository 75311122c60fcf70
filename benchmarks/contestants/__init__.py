"""Those who compete: a name, the module that trains, and what that needs.

Each module has a class `Contestant`:
  Contestant(problem, variant)      builds the network and what else is needed before the first step;
  .parameters                       the number of trained numbers and moving statistics;
  .device                           the processor's or accelerator's name;
  .train(start, stop)               trains with batches `start` to `stop` of an epoch, waits until the device has done
                                    it, and returns the mean loss (with L2) and the accuracy over these steps;
  .outside                          the seconds so far in `train` that are not training: of Keras's `fit`, setting up;
  .restart(seed)                    begins a training anew, with other weights, at the problem's rates if it has them;
                                    epochs are shuffled then;
  .test()                           the accuracy on the problem's test images, in evaluation mode.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Entry:
    module: str
    variant: str
    libraries: tuple[str, ...]  # Modules that must be importable, and whose versions are reported.
    words: str  # Its description in the tables.

    @property
    def is_ours(self) -> bool:
        return self.module == "ours"


_JAX = ("jax", "flax", "optax")
CONTESTANTS = {
    "digits": Entry("ours", "auto", _JAX, "this project: the whole epoch as one compiled loop"),
    "digits_stock": Entry("ours", "stock", _JAX, "this project with XLA's own convolution and pooling"),
    "digits_augmented": Entry("ours", "augmented", _JAX, "this project with the config's augmentation, if it has one"),
    "torch_eager": Entry("pytorch", "eager", ("torch",), "PyTorch as most people write it, data in memory"),
    "torch_channels_last": Entry("pytorch", "channels_last", ("torch",), "PyTorch, channels_last and fused optimizer"),
    "torch_compile": Entry("pytorch", "compile", ("torch",), "PyTorch, torch.compile and fused optimizer"),
    "keras_tensorflow": Entry("keras_fit", "tensorflow", ("keras", "tensorflow"), "Keras `fit` on TensorFlow"),
    "keras_jax": Entry("keras_fit", "jax", ("keras", "jax"), "Keras `fit` on JAX"),
    "keras_torch": Entry("keras_fit", "torch", ("keras", "torch"), "Keras `fit` on PyTorch"),
    "flax_example": Entry("flax_example", "", _JAX, "Flax's MNIST tutorial: a jitted step fed from the host"),
}
# In whole processes of benchmarks.notebook alone.
NOTEBOOK = {
    "keras_notebook": Entry(
        "keras_notebook", "tensorflow", ("keras", "tensorflow", "scipy"), "Keras `fit` fed by ImageDataGenerator"
    )
}
