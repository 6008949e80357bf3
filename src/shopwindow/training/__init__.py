"""Fine-tuning with torch and fastai, which take seconds to import: from a run to a bundle.

A training starts in `fine_tuning`, follows a function in `recipes`, and ends in `export`.
"""
