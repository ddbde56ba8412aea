"""What people import as ``infwidth``: models, kernels, training and files without a config.

Which names are public stands in one place, ``infwidth/__init__.pyi``; ``import infwidth`` imports each when it is first
asked for. Nothing below the commands imports this package.
"""

DECIDES_NUMBERS = False
