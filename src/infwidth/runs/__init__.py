"""A run: its specification, its folder, the plan of an experiment.

And the code that it used, and whether that still gives its numbers.
"""
