"""Models that were trained elsewhere, as bundles: docs/importing.md.

`read_source` makes a `Source` of any kind of file: a graph from image bytes to probabilities, the
resize rule, the labels, and the model's own answers for some images. `write_import` makes a bundle
of it, if the bundle answers the same.
"""
