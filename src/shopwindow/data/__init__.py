"""Labelled images: read, decoded once, searched for duplicates, split and inspected.

DataSpec ─ location ─ columns ─ catalogue ─ cache ─ Dataset ─┬─ duplicates, split
(how to    (folder,   (image,   (which      (pixels)         └─ inspection
read it)   table)     labels)   image, which labels)
"""
