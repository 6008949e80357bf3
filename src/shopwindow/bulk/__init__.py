"""Predicting any number of images: listed, cut into shards, predicted by an engine, written."""
