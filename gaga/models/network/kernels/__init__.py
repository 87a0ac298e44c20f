"""Kernels: ways to compute the one network, with the same parameters and the same results, at different speed."""
