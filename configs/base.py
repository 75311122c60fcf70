"""Every field of a config, with its default and what it means. An experiment is a delta from this.

The defaults are Keras's (0.9 / 0.999 / 1e-7 for Adam, glorot_uniform kernels, `valid` convolutions), because the
figures that the experiments are held against were made with it. Override any field after `--config`:

    python -m digits.main --config=configs/simple_cnn.py --config.epochs=3 --config.model.hidden=128,64
"""

from ml_collections import config_dict


def one_or_each(default):
    """A field that takes one value for all layers or blocks, or a tuple with one value for each."""
    return config_dict.FieldReference(default, field_type=object)


def get_config() -> config_dict.ConfigDict:
    """Returns the locked defaults: a small dense network on MNIST, Adam, no validation set."""
    config = config_dict.ConfigDict()
    config.seed = 0  # Initial weights, shuffling, dropout and augmentation all derive from it.
    config.epochs = 10
    config.batch_size = 32  # The last, partial batch of an epoch is used too.
    config.eval_batch_size = 250  # Changes memory and speed only: evaluation is exact for any size.
    config.label_smoothing = 0.0  # Of the training loss: the share of probability given to all classes alike.
    config.monitor = "val_loss"  # loss, accuracy, val_loss or val_accuracy: what "best" means.

    data = config.data = config_dict.ConfigDict()
    # mnist, optdigits (embedded), any TFDS set of 28x28 images, FILE.npz, or ./FOLDER with one of images per class.
    data.name = "mnist"
    # none | last(10000) | random(0.175, 0): fraction and seed, as scikit-learn's train_test_split
    # | folds(5): contiguous, as scikit-learn's KFold | writer_folds(5): of whole writers, as its GroupKFold; mnist only
    # | test: the test set itself, as some notebooks did.
    data.validation = "none"
    data.fold = 0  # Which of the folds is held out.
    # unit: pixels / 255 | column_l2: every image column by its L2 norm over the rows (Keras's normalize(axis=1)).
    data.normalization = "unit"

    model = config.model = config_dict.ConfigDict()
    model.family = "dense"  # dense: the hidden layers alone | cnn: convolution blocks before them.
    model.activation = "relu"  # relu, tanh, sigmoid, elu, gelu, silu: convolutions and hidden layers.
    # glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_uniform, lecun_normal. Biases start at zero.
    model.kernel_init = "glorot_uniform"
    model.output_init = "glorot_uniform"
    model.input_dropout = 0.0  # Dense family only: on the pixels.
    # Convolution blocks: convolutions, then pooling, BatchNorm, dropout.
    model.blocks = ()  # Widths of the convolutions, one tuple a block: ((32, 32), (64, 64)).
    model.kernel_size = one_or_each(3)  # One, or one a block.
    model.padding = "valid"  # valid or same.
    model.pool = one_or_each(2)  # Window and stride of the max pooling; 0: no layer; 1: an identity, as in Keras.
    model.batch_norm = "none"  # none | conv: after every convolution | block: after the pooling.
    model.block_dropout = one_or_each(0.0)  # At the end of the block.
    # Hidden layers: dense, BatchNorm, dropout.
    model.hidden = (32, 32)
    model.hidden_batch_norm = one_or_each(False)
    model.hidden_dropout = one_or_each(0.0)
    model.hidden_l2 = one_or_each(0.0)  # l2 * sum(kernel^2) is added to the loss, as Keras does (no 1/2).
    # auto: the fastest here | stock: XLA's own convolution and pooling | dot: as matrix products | native: compiled for
    # this processor with its C++ compiler, the fastest on CPUs.
    model.convolution = "auto"

    optimizer = config.optimizer = config_dict.ConfigDict()
    optimizer.name = "adam"  # adam, sgd or rmsprop.
    optimizer.learning_rate = 1e-3
    optimizer.momentum = 0.0  # sgd.
    optimizer.nesterov = False  # sgd.
    optimizer.beta_1 = 0.9  # adam.
    optimizer.beta_2 = 0.999  # adam.
    optimizer.rho = 0.9  # rmsprop.
    optimizer.epsilon = 1e-7  # adam, rmsprop.
    optimizer.epsilon_in_sqrt = False  # rmsprop: False as Keras 2, True as Keras 3.
    optimizer.weight_decay = 0.0  # Decoupled, on kernels only: the update shrinks them by learning rate * this.
    optimizer.clip_norm = 0.0  # Scales gradients down to this global norm; 0: off.

    schedule = config.schedule = config_dict.ConfigDict()
    # constant | exponential: * exp(-decay) an epoch from start_epoch on | inverse_time: / (1 + decay * updates), the
    # legacy Keras decay | cosine: to final_fraction at the end | one_cycle | plateau: Keras's ReduceLROnPlateau.
    schedule.name = "constant"
    schedule.warmup_epochs = 0.0  # Linear from zero; multiplies whatever the schedule gives.
    schedule.start_epoch = 0  # exponential: epochs at the full rate, counted from 0.
    schedule.decay = 0.0  # exponential: an epoch; inverse_time: an update.
    schedule.final_fraction = 0.0  # cosine.
    schedule.peak_fraction = 0.3  # one_cycle: the share of training before the peak rate.
    schedule.initial_divisor = 25.0  # one_cycle: the rate starts at the peak over this ...
    schedule.final_divisor = 1e4  # ... and ends at that over this.
    schedule.factor = 0.1  # plateau: times the rate after ...
    schedule.patience = 10  # ... this many epochs without improvement ...
    schedule.min_delta = 1e-4  # ... by more than this;
    schedule.cooldown = 0  # then as many epochs of rest,
    schedule.min_learning_rate = 0.0  # and never below this.

    stopping = config.early_stopping = config_dict.ConfigDict()
    stopping.patience = 0  # Epochs without improvement before training stops; 0: off.
    stopping.min_delta = 0.0
    stopping.restore_best = False  # Test the best epoch's weights, not the last's. Also without early stopping.

    augment = config.augment = config_dict.ConfigDict()
    # Uniform ranges of Keras's ImageDataGenerator; linear interpolation, nearest pixel beyond the edge.
    augment.rotation = 0.0  # +- degrees.
    augment.shear = 0.0  # +- degrees.
    augment.zoom = 0.0  # Each axis by its own factor from 1 - zoom to 1 + zoom.
    augment.height_shift = 0.0  # +- fraction of the height.
    augment.width_shift = 0.0  # +- fraction of the width.

    config.checkpoint_every = 1  # Epochs; the best and the last epoch are always saved.
    config.tensorboard = True  # Write TensorBoard events where TensorFlow is installed.
    # On a GPU, asks XLA for operations that give the same bits whenever a training is repeated; those of a CPU always do.
    config.deterministic = False
    config.compilation_cache = True  # Keep compiled programs in the user's cache folder.

    # How runs of one structure share a device in a sweep; with mapped the bits are those of single runs.
    population = config.population = config_dict.ConfigDict()
    # auto | mapped: each by itself, several at a time | batched: all in one program, the members as an array axis.
    population.sharing = "auto"
    population.workers = 0  # mapped: runs at a time on a device; 0: one a core on a CPU, otherwise one.
    population.size = 0  # batched: most members in a program; 0: as many as fit in memory.

    # The figures that the experiment's source prints, for the comparison at the end; None where it prints none.
    documented = config.documented = config_dict.ConfigDict()
    documented.test_accuracy = config_dict.placeholder(float)
    documented.test_loss = config_dict.placeholder(float)
    documented.val_accuracy = config_dict.placeholder(float)  # Of the last epoch.
    documented.source = ""
    return config.lock()
