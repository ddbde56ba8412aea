"""The version of infwidth, as packages are numbered: 0.x may change what is public, after a warning."""

__version__ = "0.1.0"
