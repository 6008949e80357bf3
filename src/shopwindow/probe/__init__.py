"""A linear probe: one linear layer, fitted to the features of a frozen ImageNet backbone.

It needs neither torch nor fastai, and takes seconds. Alain, Bengio 2016 (arXiv:1610.01644) gave it
the name; Kornblith, Shlens, Le 2019 (arXiv:1805.08974) measured how good it is.
"""

from shopwindow.probe.probe_run import train_probe

__all__ = ["train_probe"]
