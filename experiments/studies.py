"""All studies, in the order of the results page."""

from experiments import architecture_study, augmentation_study, dense_study, optimizer_study, regularisation_study

ALL = (
    dense_study.STUDY,
    architecture_study.STUDY,
    regularisation_study.STUDY,
    augmentation_study.STUDY,
    optimizer_study.STUDY,
)
