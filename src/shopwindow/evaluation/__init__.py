"""How good are the answers? Arrays in, figures and a report out; never a model.

`metrics.py` turns probabilities and targets into `Grades` (`grades.py`); `report.py` shows them as
HTML, JSON and text; `charts.py` works out what the two pictures draw. What each figure means is in
docs/evaluation.md.
"""
