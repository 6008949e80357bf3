"""What makes confidences honest: temperatures, curves and thresholds; fitted, and in graphs."""
