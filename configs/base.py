"""Declares every field of a config: its meaning, the values it accepts, and its default.

An experiment is a delta from this. The defaults are Keras's (0.9 / 0.999 / 1e-7 for Adam, glorot_uniform kernels,
`valid` convolutions), because the figures that the experiments are held against were made with it. Every field can be
changed after `--config`:

    python -m digits.main --config=simple_cnn --config.epochs=3 --config.model.hidden=128,64

The comments are those of the table in digits/config/fields.py, from which the checks are made.
"""

from ml_collections import config_dict


def one_or_each(default):
    """Declares a field that takes one value for all layers or blocks, or a tuple with one value for each."""
    return config_dict.FieldReference(default, field_type=object)


def get_config() -> config_dict.ConfigDict:
    """Returns the locked defaults: a small dense network on MNIST, Adam, no validation set."""
    config = config_dict.ConfigDict()
    # Initial weights, shuffling, dropout and augmentation all derive from it.
    # Accepted: a whole number from 0 to below 2^31.
    config.seed = 0
    # Passes over the training examples.
    # Accepted: a whole number from 1 to below 2^31.
    config.epochs = 10
    # Examples in a step. The last, partial batch of an epoch is used too.
    # Accepted: a whole number from 1 to below 2^31.
    config.batch_size = 32
    # Changes memory and speed only: evaluation is exact for any size.
    # Accepted: a whole number from 1 to below 2^31.
    config.eval_batch_size = 250
    # Share of the probability that the training loss gives to all classes alike.
    # Accepted: a finite number from 0 to below 1.
    config.label_smoothing = 0.0
    # Decides which epoch is "best".
    # Accepted: one of accuracy, loss, val_accuracy, val_loss.
    config.monitor = "val_loss"

    data = config.data = config_dict.ConfigDict()
    # The dataset. optdigits is embedded; a TFDS set has images of 28x28; a folder has one folder of images per class,
    # or holds IDX, .csv, .npz or Parquet files.
    # Accepted: mnist, optdigits, the name of a TFDS set, a path to a .npz, .csv or Parquet file, or a path (with a /)
    # to a folder.
    data.name = "mnist"
    # The validation examples. random(fraction, seed) is scikit-learn's train_test_split, stratified(fraction, seed) the
    # same with the share of each class kept; folds(n) is its contiguous KFold, stratified_folds(n) its StratifiedKFold,
    # writer_folds(n) its GroupKFold over the writers of mnist. test is the test set itself, as some notebooks did.
    # Accepted: one of none, test, last(10000), random(0.175, 0) or stratified(0.175, 0) with a fraction below 1 and a
    # seed below 2^32, folds(5), stratified_folds(5) or writer_folds(5).
    data.validation = "none"
    # The fold that is held out, where data.validation makes folds.
    # Accepted: a whole number from 0, below the number of folds.
    data.fold = 0
    # unit divides pixels by 255; column_l2 divides every image column by its L2 norm over the rows, as Keras's
    # normalize(axis=1).
    # Accepted: one of column_l2, unit.
    data.normalization = "unit"

    model = config.model = config_dict.ConfigDict()
    # dense has hidden layers alone, cnn has convolution blocks before them.
    # Accepted: one of cnn, dense.
    model.family = "dense"
    # Follows every convolution and hidden layer.
    # Accepted: one of elu, gelu, linear, relu, sigmoid, silu, tanh.
    model.activation = "relu"
    # Initial weights of all layers but the last. Biases start at zero.
    # Accepted: one of glorot_normal, glorot_uniform, he_normal, he_uniform, lecun_normal, lecun_uniform.
    model.kernel_init = "glorot_uniform"
    # Initial weights of the last layer.
    # Accepted: one of glorot_normal, glorot_uniform, he_normal, he_uniform, lecun_normal, lecun_uniform.
    model.output_init = "glorot_uniform"
    # Dropout rate of the pixels, in the dense family.
    # Accepted: a finite number from 0 to below 1, at most 0.999.
    model.input_dropout = 0.0
    # Widths of the convolutions. A block has its convolutions, then pooling, BatchNorm and dropout.
    # Accepted: a tuple of blocks, each a tuple of widths: ((32, 32), (64, 64)).
    model.blocks = ()
    # Window of the convolutions, in pixels; one for each block.
    # Accepted: a whole number from 1, or a tuple with one for each.
    model.kernel_size = one_or_each(3)
    # Stride of the first convolution of a block, in pixels; the others have 1.
    # Accepted: a whole number from 1, or a tuple with one for each.
    model.stride = one_or_each(1)
    # Makes each convolution of a block a depthwise one (a filter for each channel) and one of 1x1, as Keras's
    # SeparableConv2D.
    # Accepted: true or false, or a tuple with one for each.
    model.separable = one_or_each(False)
    # Biases of the convolutions. Directly before BatchNorm they have no effect.
    # Accepted: true or false.
    model.conv_bias = True
    # Padding of the convolutions.
    # Accepted: one of same, valid.
    model.padding = "valid"
    # Window and stride of the max pooling of a block, in pixels. 0 makes no layer, 1 an identity, as in Keras.
    # Accepted: a whole number from 0 (no pooling), or a tuple with one for each.
    model.pool = one_or_each(2)
    # BatchNorm in the blocks: conv after every convolution, block after the pooling.
    # Accepted: one of block, conv, none.
    model.batch_norm = "none"
    # Dropout rate at the end of a block.
    # Accepted: a finite number from 0 to below 1, at most 0.999, or a tuple with one for each.
    model.block_dropout = one_or_each(0.0)
    # Average or maximum of each channel over the whole image, in place of all pixels, before the hidden layers.
    # Accepted: one of average, max, none.
    model.global_pool = "none"
    # Widths of the hidden layers. Each is a dense layer, then BatchNorm and dropout.
    # Accepted: a tuple such as (32,) or (64, 32), of widths from 1.
    model.hidden = (32, 32)
    # BatchNorm after a hidden layer.
    # Accepted: true or false, or a tuple with one for each.
    model.hidden_batch_norm = one_or_each(False)
    # Dropout rate after a hidden layer.
    # Accepted: a finite number from 0 to below 1, at most 0.999, or a tuple with one for each.
    model.hidden_dropout = one_or_each(0.0)
    # Adds l2 * sum(kernel^2) of a hidden layer to the loss, as Keras does (no 1/2).
    # Accepted: a finite number from 0 to below 1e+06, or a tuple with one for each.
    model.hidden_l2 = one_or_each(0.0)
    # How convolutions are computed: by XLA's own operation (stock), as matrix products (dot), or compiled for this
    # processor with its C++ compiler (native, the fastest on CPUs). auto takes the fastest here.
    # Accepted: one of auto, dot, native, stock.
    model.convolution = "auto"

    optimizer = config.optimizer = config_dict.ConfigDict()
    # The optimizer, with Keras's formulas; muon with Optax's, and Adam for biases, BatchNorm and the last layer.
    # Accepted: one of adam, lion, muon, rmsprop, sgd.
    optimizer.name = "adam"
    # The base rate, which the schedule multiplies.
    # Accepted: a finite number above 0, 1e-37 to below 1e+37.
    optimizer.learning_rate = 1e-3
    # sgd: the share of the last update that the next one keeps.
    # Accepted: a finite number from 0 to below 1, at most 0.999999.
    optimizer.momentum = 0.0
    # sgd: Nesterov's momentum.
    # Accepted: true or false.
    optimizer.nesterov = False
    # adam, lion, muon: decay of the mean of the gradients.
    # Accepted: a finite number from 0 to below 1, at most 0.999999.
    optimizer.beta_1 = 0.9
    # adam, muon: decay of the mean of their squares. lion: decay of the mean of the gradients that is kept.
    # Accepted: a finite number from 0 to below 1, at most 0.999999.
    optimizer.beta_2 = 0.999
    # rmsprop: decay of the mean of the squared gradients.
    # Accepted: a finite number from 0 to below 1, at most 0.999999.
    optimizer.rho = 0.9
    # adam, muon, rmsprop: added to the divisor.
    # Accepted: a finite number above 0, 1e-37 to below 1e+37.
    optimizer.epsilon = 1e-7
    # rmsprop: false as in Keras 2, true as in Keras 3.
    # Accepted: true or false.
    optimizer.epsilon_in_sqrt = False
    # Decoupled decay of kernels: an update shrinks them by the learning rate times this.
    # Accepted: a finite number from 0 to below 1e+37.
    optimizer.weight_decay = 0.0
    # Validates, tests and keeps a moving average of the weights: an update leaves it this share. 0: the weights.
    # Accepted: a finite number from 0 to below 1, at most 0.999999.
    optimizer.ema_momentum = 0.0
    # Scales gradients down to this global norm; 0 does not.
    # Accepted: a finite number from 0 to below 1e+37.
    optimizer.clip_norm = 0.0

    schedule = config.schedule = config_dict.ConfigDict()
    # exponential multiplies the rate by exp(-decay) an epoch; inverse_time divides it by 1 + decay * updates, as
    # Keras's legacy decay; cosine ends at final_fraction; plateau is Keras's ReduceLROnPlateau.
    # Accepted: one of constant, cosine, exponential, inverse_time, one_cycle, plateau.
    schedule.name = "constant"
    # Epochs of linear warm-up from zero, which multiplies any schedule.
    # Accepted: a finite number from 0 to below 1e+37.
    schedule.warmup_epochs = 0.0
    # exponential: epochs at the full rate before the decay.
    # Accepted: a whole number from 0 to below 2^31.
    schedule.start_epoch = 0
    # exponential: the decay of an epoch. inverse_time: the decay of an update.
    # Accepted: a finite number from 0 to below 1e+37.
    schedule.decay = 0.0
    # cosine: the last rate, as a fraction of the base rate.
    # Accepted: a finite number from 0 to below 1e+37.
    schedule.final_fraction = 0.0
    # one_cycle: the share of training before the peak rate.
    # Accepted: a finite number between 0 and 1.
    schedule.peak_fraction = 0.3
    # one_cycle: the first rate is the peak rate divided by this.
    # Accepted: a finite number from 1 to below 1e+37.
    schedule.initial_divisor = 25.0
    # one_cycle: the last rate is the first rate divided by this.
    # Accepted: a finite number from 1 to below 1e+37.
    schedule.final_divisor = 1e4
    # plateau: multiplies the rate.
    # Accepted: a finite number from 0 to below 1.
    schedule.factor = 0.1
    # plateau: epochs without improvement before the rate is reduced.
    # Accepted: a whole number from 1 to below 2^31.
    schedule.patience = 10
    # plateau: a smaller change of the monitor is no improvement.
    # Accepted: a finite number from 0 to below 1e+37.
    schedule.min_delta = 1e-4
    # plateau: epochs after a reduction that are not counted.
    # Accepted: a whole number from 0 to below 2^31.
    schedule.cooldown = 0
    # plateau: the rate is never reduced below this.
    # Accepted: a finite number from 0 to below 1e+37.
    schedule.min_learning_rate = 0.0

    stopping = config.early_stopping = config_dict.ConfigDict()
    # Epochs without improvement before training stops; 0 never stops.
    # Accepted: a whole number from 0 to below 2^31.
    stopping.patience = 0
    # A smaller change of the monitor is no improvement.
    # Accepted: a finite number from 0 to below 1e+37.
    stopping.min_delta = 0.0
    # Tests the weights of the best epoch, not of the last one. Works without early stopping too.
    # Accepted: true or false.
    stopping.restore_best = False

    # Random affine transforms as in Keras's ImageDataGenerator: uniform ranges, linear interpolation, nearest pixel
    # beyond the edge. Beside them elastic distortion (Simard, Steinkraus & Platt 2003) and random erasing, or cutout
    # (Zhong et al. 2017; DeVries & Taylor 2017).
    augment = config.augment = config_dict.ConfigDict()
    # Rotates by an angle from minus to plus this, in degrees.
    # Accepted: a finite number from 0 to below 360.
    augment.rotation = 0.0
    # Shears by an angle from minus to plus this, in degrees.
    # Accepted: a finite number from 0 to below 90.
    augment.shear = 0.0
    # Scales each axis by a factor of its own, from 1 - zoom to 1 + zoom.
    # Accepted: a finite number from 0 to below 1.
    augment.zoom = 0.0
    # Shifts up or down by up to this fraction of the height.
    # Accepted: a finite number from 0 to below 1.
    augment.height_shift = 0.0
    # Shifts left or right by up to this fraction of the width.
    # Accepted: a finite number from 0 to below 1.
    augment.width_shift = 0.0
    # Moves pixels by a smooth random field, whose standard deviation along each axis this is, in pixels. Up to a
    # quarter of elastic_sigma, digits stay legible.
    # Accepted: a finite number from 0 to below 28.
    augment.elastic = 0.0
    # elastic: the standard deviation of the Gaussian that smooths the field, in pixels.
    # Accepted: a finite number from 0.5 to below 28.
    augment.elastic_sigma = 4.0
    # Blackens a square at a random place of every image, partly outside if near an edge: its side, as a fraction of the
    # image's. Up to 0.3, most digits stay legible.
    # Accepted: a finite number from 0 to below 1.
    augment.erasing = 0.0

    # Epochs between checkpoints. The best and the last epoch are always saved.
    # Accepted: a whole number from 1 to below 2^31.
    config.checkpoint_every = 1
    # Writes TensorBoard events.
    # Accepted: true or false.
    config.tensorboard = True
    # On a GPU results differ in the last bits from run to run; true makes them reproducible, at some cost in speed. On
    # a CPU they always are.
    # Accepted: true or false.
    config.deterministic = False
    # Keeps compiled programs in the user's cache folder.
    # Accepted: true or false.
    config.compilation_cache = True

    population = config.population = config_dict.ConfigDict()
    # How the runs of a sweep share a device: mapped trains each by itself, several at a time, with the bits of single
    # runs; batched trains all in one program, the members as an array axis.
    # Accepted: one of auto, batched, mapped.
    population.sharing = "auto"
    # mapped: runs at a time on a device; 0: one a core on a CPU, otherwise one.
    # Accepted: a whole number from 0 to below 2^31.
    population.workers = 0
    # batched: most members in a program; 0: as many as fit in memory.
    # Accepted: a whole number from 0 to below 2^31.
    population.size = 0

    # The figures that a notebook prints, for the comparison at the end of a run; None where it prints none.
    documented = config.documented = config_dict.ConfigDict()
    # Test accuracy that the notebook prints.
    # Accepted: a finite number, or None.
    documented.test_accuracy = config_dict.placeholder(float)
    # Test loss that the notebook prints.
    # Accepted: a finite number, or None.
    documented.test_loss = config_dict.placeholder(float)
    # Validation accuracy that the notebook prints of its last epoch.
    # Accepted: a finite number, or None.
    documented.val_accuracy = config_dict.placeholder(float)
    # Notebook and lines in which these figures stand.
    # Accepted: text.
    documented.source = ""

    return config.lock()
