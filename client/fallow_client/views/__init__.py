"""Answers as tables for a terminal of 80 columns. Pure: an answer goes in, something to print comes out."""
