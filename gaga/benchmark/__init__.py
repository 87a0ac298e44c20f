"""How fast the kernels are on real shapes, against the papers' formulation in the same run and the device's floor."""
