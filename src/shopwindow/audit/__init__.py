"""What is probably wrong in a data set: labels, strangers, near-duplicates and poor pictures.

It needs what serves, and no training stack.
"""
