"""Studies of quality: cells that are drawn and judged once each, and the tables and the plot made of them."""
