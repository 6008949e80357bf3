"""Confidences that mean what they say: temperatures, curves and thresholds, also in the graph."""
