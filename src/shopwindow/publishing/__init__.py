"""A graph becomes a bundle: written, proven to answer like its source, and measured."""
