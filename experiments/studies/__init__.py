"""The six studies: a question each, the runs that answer it, and the notebooks' claims that they decide. Needs no JAX.

    dense.py            notebook 003: width, depth, batch size, momentum, learning rate, dropout
    architecture.py     notebook 001: three CNNs, three changes to one of them, the search for a kernel size
    kernel_sizes.py     the printout of this search
    regularisation.py   notebook 004: dropout and BatchNorm; the shortest, start here
    augmentation.py     notebooks 000 and 002: augmentation, and the steps from a dense network to it
    optimizer.py        Adam, SGD and RMSprop, each at its own learning rate
    records.py          how fast 99% is reached, beyond the notebooks: no claims

`ALL` has them in the order of RESULTS.md. Only commands, and the tables of the records, import this room. It
imports `experiments.judging`, and from `digits` only what needs no JAX.
"""

from experiments.studies import architecture, augmentation, dense, optimizer, records, regularisation

ALL = (dense.STUDY, architecture.STUDY, regularisation.STUDY, augmentation.STUDY, optimizer.STUDY, records.STUDY)
