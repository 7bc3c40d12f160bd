"""What the words of the `fallow` command do, a file for each group of them."""
