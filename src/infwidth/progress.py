"""Progress bars with an estimate: lively on a terminal, a line now and then in a log."""

import sys

from tqdm import tqdm


def bar(**settings) -> tqdm:
    """A tqdm bar on standard error."""
    return tqdm(mininterval=0.2 if sys.stderr.isatty() else 20, dynamic_ncols=True, **settings)
