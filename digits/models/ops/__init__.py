"""The operations of the layers: convolution with its activation and pooling, depthwise convolution, BatchNorm, dropout.

convolution.py chooses the implementation: stock (XLA's own), products.py (matrix products) or native.py
(kernels/, compiled for this processor). Values and gradients of all three are equal up to rounding.
"""
