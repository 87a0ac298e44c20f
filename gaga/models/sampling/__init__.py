"""Sampling: from a reference Gaussian at T* down to molecules.

`loop` is the page to read first: the whole sampler in one function. `solvers` has each method as a table of
coefficients, `config` the choices of a run. `plan`, `batch`, `engine` and `stream` compute the same for many molecules
at full speed; `judge`, `unfinished`, `record` and `output` take the molecules to the output file and the result store.
"""
