"""One HTML file that shows molecules: it holds its data, its code and its style, and opens without a network."""
