"""TensorFlow, an extra: only two export formats, and the TFDS sets that nothing else can prepare, import it."""

import contextlib
import os


def import_tensorflow():
    """Imports TensorFlow, quiet and without a GPU. TensorFlow would take all its memory, which JAX needs.

        tf = import_tensorflow()

    Raises:
      ImportError: TensorFlow is not installed.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # JAX has set it to 1, which lets the converter's warnings through.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # oneDNN announces itself on stderr otherwise.
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")
    with contextlib.suppress(RuntimeError):  # The process has used TensorFlow before.
        tf.config.set_visible_devices([], "GPU")
    return tf
