"""How good is a bundle, and which of two is better?

`asking` puts labelled images to a bundle, `leakage` says which of them it has learned from, and
`metrics` turns its probabilities into `Grades`. `grading` does all three for one bundle and
`report` shows the result; `comparison` does it for two. `promotion` decides by such a comparison
whether a new bundle may go into service, and `history` puts it there. `measuring` and `verify` are
for those who write a bundle. What each figure means is in docs/evaluation.md.
"""
