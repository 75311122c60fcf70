"""The five studies: a question each, the runs that answer it, and the notebooks' claims that they decide.

    dense            notebook 003: width, depth, batch size, momentum, learning rate, dropout
    architecture     notebook 001: three CNNs, three changes to one of them, the search for a kernel size
    regularisation   notebook 004: dropout and BatchNorm
    augmentation     notebooks 000 and 002: augmentation, and the steps from a dense network to it
    optimizer        Adam, SGD and RMSprop, each at its own learning rate

`ALL` has them in the order of the results page. A study is data without JAX; it may import `experiments.judging`, and
`digits` what needs no JAX. `kernel_sizes.py` has the printout of notebook 001's search. Start with `regularisation.py`;
`experiments/judging/study.py` explains the words.
"""

from experiments.studies import architecture, augmentation, dense, optimizer, regularisation

ALL = (dense.STUDY, architecture.STUDY, regularisation.STUDY, augmentation.STUDY, optimizer.STUDY)
