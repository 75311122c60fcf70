"""A small convolutional network as it is, with dropout, and with BatchNorm (notebook 004).

    python -m experiments.reproduce regularisation_study

The notebook holds out its last 10,000 training images and tests once, so that its runs are honest as they are.
"""

from experiments.judging import metrics, study
from experiments.judging.study import (
    TEST_ACCURACY,
    TEST_LOSS,
    Arm,
    Claim,
    Difference,
    Finding,
    Level,
    Study,
    Undecidable,
)

PLAIN, DROPOUT, BATCHNORM = "simple_cnn", "simple_cnn_dropout", "simple_cnn_batchnorm"
OVERFITTING = study.rise_after_minimum("val_loss")
# A tenth of the plain network's lowest validation loss, 0.0381 in the notebook.
SMALL_LOSS = 0.004
SMALL = "The margin of 0.004 is a tenth of the plain network's lowest validation loss."
NOISE = "A curve that only goes up and down lies above its minimum, too."
MEASURE = "The notebook names no measure; the test loss is our reading."
CONSISTENTLY = "A loss that is consistently lower is lower at the end, too."

ARMS = (
    *(Arm(name, name, "as run", documented=name) for name in (PLAIN, DROPOUT, BATCHNORM)),
    study.with_own_splits(PLAIN, PLAIN),
)

CLAIMS = (
    Claim(
        "dropout-same-accuracy",
        "notebook 004, line 2137 (E1, E7)",
        "Dropout does not change the test accuracy much.",
        Difference(PLAIN, DROPOUT, TEST_ACCURACY, "same", 0.002),
        note=(
            "The notebook has 0.9917 against 0.9918. The margin of 0.002 is two standard errors of a test accuracy "
            "near 0.99 over 10,000 images."
        ),
    ),
    Claim(
        "dropout-reduces-overfitting",
        "notebook 004, line 2129 (E5)",
        "Dropout reduces overfitting: the validation loss rises less after its minimum.",
        Difference(PLAIN, DROPOUT, OVERFITTING, "lower"),
        note=f"The notebook says it of dropout in general. {NOISE}",
    ),
    Claim(
        "dropout-higher-loss-at-first",
        "notebook 004, line 2137 (E1)",
        "With dropout, the training loss is higher at the start.",
        Difference(PLAIN, DROPOUT, study.at("loss", 1), "higher"),
        note="The notebook has 0.7232 against 0.3627, both too high because its progress bar averages averages.",
    ),
    Claim(
        "overfitting-no-concern",
        "notebook 004, line 2139 (E5)",
        "Without regularisation the network does not overfit: its validation loss stays near its minimum.",
        Level(PLAIN, OVERFITTING, "same", 0.0, SMALL_LOSS),
        note=f"The notebook reasons from equal accuracies; its validation loss rises from 0.0381 to 0.0489. {SMALL} "
        f"{NOISE}",
    ),
    Claim(
        "dropout-not-needed",
        "notebook 004, line 2143 (E7)",
        "Dropout is not needed: without it, the test loss is the same.",
        Difference(DROPOUT, PLAIN, TEST_LOSS, "same", SMALL_LOSS),
        note=f"{MEASURE} The notebook's test losses are lost. {SMALL}",
    ),
    Claim(
        "batchnorm-improves-accuracy",
        "notebook 004, line 2141 (E2)",
        "BatchNorm improves the network significantly: its test accuracy.",
        Difference(PLAIN, BATCHNORM, TEST_ACCURACY, "higher"),
        note="The notebook has 0.9910 against 0.9918.",
    ),
    Claim(
        "batchnorm-lower-training-loss",
        "notebook 004, line 2141 (E1, E2)",
        "With BatchNorm, the training loss is consistently lower than without.",
        Difference(PLAIN, BATCHNORM, study.at("loss", -1), "lower"),
        note=f"{CONSISTENTLY} The notebook's is higher in epochs 6 to 9. It is much lower at first.",
    ),
    Claim(
        "batchnorm-lower-validation-loss",
        "notebook 004, line 2141 (E2)",
        "With BatchNorm, the validation loss is consistently lower than without.",
        Difference(PLAIN, BATCHNORM, study.at("val_loss", -1), "lower"),
        note=f"{CONSISTENTLY} The notebook's is higher in epochs 3 and 4.",
    ),
    Claim(
        "batchnorm-lower-validation-loss-than-dropout",
        "notebook 004, line 2141 (E2)",
        "With BatchNorm, the validation loss is consistently lower than with dropout.",
        Difference(DROPOUT, BATCHNORM, study.at("val_loss", -1), "lower"),
        note=f"{CONSISTENTLY} The notebook's is higher in epochs 3, 7 and 9.",
    ),
    Claim(
        "batchnorm-stabilises",
        "notebook 004, line 2141 (E2)",
        "BatchNorm makes training more stable: the validation loss moves less from epoch to epoch.",
        Difference(PLAIN, BATCHNORM, metrics.fluctuation(5), "lower"),
    ),
    Claim(
        "batchnorm-fewer-epochs",
        "notebook 004, line 2141 (E2)",
        "BatchNorm makes training faster: a training accuracy of 0.99 takes fewer epochs.",
        Difference(PLAIN, BATCHNORM, study.epochs_to(0.99), "lower"),
        note="The notebook has it in epoch 3 against epoch 4.",
    ),
    Claim(
        "batchnorm-faster-by-the-clock",
        "notebook 004, line 2141 (E7, E8)",
        "BatchNorm makes training faster by the clock.",
        Undecidable(
            "Members share the processor with others, so that their seconds measure the company too. A step with "
            "BatchNorm computes more; the notebook has 44 to 46 ms against 30 to 33."
        ),
    ),
    Claim(
        "batchnorm-does-not-overfit",
        "notebook 004, line 2141 (E2)",
        "With BatchNorm the network does not overfit: its validation loss stays near its minimum.",
        Level(BATCHNORM, OVERFITTING, "same", 0.0, SMALL_LOSS),
        note=f"The notebook's ends at its minimum. {SMALL} {NOISE}",
    ),
    Claim(
        "batchnorm-losses-track",
        "notebook 004, line 2141 (E2)",
        "With BatchNorm, the validation loss tracks the training loss closely: more closely than without.",
        Difference(PLAIN, BATCHNORM, metrics.LOSS_GAP, "lower"),
    ),
    Claim(
        "batchnorm-rather-than-dropout",
        "notebook 004, line 2143 (E7)",
        "BatchNorm is the layer to choose: its test loss is lower than that of dropout.",
        Difference(DROPOUT, BATCHNORM, TEST_LOSS, "lower"),
        note=f"{MEASURE} The notebook's test losses are lost; its progress bars show 0.0361 against 0.0323.",
    ),
)

STUDY = Study(
    name="regularisation_study",
    title="Dropout and BatchNorm",
    question="Does a small convolutional network need dropout or BatchNorm (notebook 004)?",
    arms=ARMS,
    claims=CLAIMS,
    findings=(
        Finding(
            "batchnorm-rather-than-dropout",
            "Notebook 004 prefers BatchNorm to dropout: with it in place of dropout, the test loss of the small CNN is",
        ),
    ),
    lessons=(
        "Judge overfitting by losses. Nearly equal accuracies do not rule it out: a network can make the same "
        "mistakes and become ever surer of them: `dropout-reduces-overfitting`, `overfitting-no-concern`, "
        "`dropout-same-accuracy`.",
        "A difference of a few images in 10,000 between single runs is chance until several seeds show otherwise: "
        "`batchnorm-improves-accuracy`.",
        "Say which measure decides what is better, and judge all candidates by it: `dropout-not-needed`, "
        "`batchnorm-rather-than-dropout`.",
        "Fewer epochs and less time are two claims: `batchnorm-fewer-epochs`, `batchnorm-faster-by-the-clock`.",
        "A difference in the first epochs need not last; say which epoch a comparison is about: "
        "`batchnorm-lower-training-loss`.",
        "A training loss is measured with dropout on, a validation loss with it off. The training loss therefore says "
        "little about the fit of a network with dropout: `dropout-higher-loss-at-first`.",
        "Know over which steps a figure on the screen is averaged. The notebook's training figures are those of Keras "
        "3's progress bar, which averages averages and so counts an epoch's first steps most. In the first epoch they "
        "lie far above the curves: for seed 0 of simple_cnn this average is a loss of 0.38, the mean is 0.17, and the "
        "notebook has 0.36. In later epochs they lie on either side, mostly below without dropout, where the first "
        "steps profit from the epoch before: in epoch 6 of simple_cnn_batchnorm the average is 0.0147, the mean "
        "0.0161, and the notebook has 0.0147 (python -m experiments.progress_bar on two CPU cores, not those of the "
        "table; November 2026). Its validation figures are exact.",
    ),
)
