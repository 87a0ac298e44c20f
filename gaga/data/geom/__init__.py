"""GEOM-Drugs in each of the forms that its publishers and EDM's code keep it in -> a prepared file."""
