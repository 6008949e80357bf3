"""Labelled images: read, decoded once, searched for duplicates, split and inspected."""
