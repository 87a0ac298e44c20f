"""Predictors of a property of molecules, which judge molecules that a property was asked of."""
