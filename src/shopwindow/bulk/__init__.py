"""Predicting any number of images: listed, cut into shards, predicted by a runner, written."""
