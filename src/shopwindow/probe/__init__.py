"""A linear probe: a frozen ImageNet backbone, and on its features one linear layer that is fitted.

It needs neither torch nor fastai, and takes seconds: Alain, Bengio 2016, arXiv:1610.01644, for the
name; Kornblith, Shlens, Le 2019, arXiv:1805.08974, for how far it leads.
"""

from shopwindow.probe.backbone import Backbone, bundled_backbone_path, open_backbone
from shopwindow.probe.cross_validation import OutOfFold, cross_validate
from shopwindow.probe.folds import assign_folds

__all__ = [
    "Backbone",
    "OutOfFold",
    "assign_folds",
    "bundled_backbone_path",
    "cross_validate",
    "open_backbone",
]
