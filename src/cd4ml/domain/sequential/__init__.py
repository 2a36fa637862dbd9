"""Tests and confidence sequences that may be looked at after every request.

An e-process is a number that starts at 1 and, as long as what it tests is true, exceeds 1/alpha at any time
with probability at most alpha, however often one looks (Ville's inequality). Rollouts ask each metric two
one-sided questions with one e-process each: is the canary worse (`harm`), and is it certainly not worse than
a margin (`safe`).

References
----------
J. Ville, Étude critique de la notion de collectif, 1939.
A. Ramdas, P. Grünwald, V. Vovk, G. Shafer, Game-theoretic statistics and safe anytime-valid inference,
Statistical Science 38(4), 2023.
"""
