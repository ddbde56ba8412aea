"""Where the configs and the recipes of the experiments lie: beside src in the repository, inside an installed package.

They are the same files: a wheel is made of the repository's (``force-include`` in pyproject.toml).
"""

from pathlib import Path

DECIDES_NUMBERS = False

PACKAGE = Path(__file__).parent


def of(name: str) -> Path:
    """The folder of that name, in the package if it is installed with it, else in the repository."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parents[1] / name


CONF = of("conf")
EXPERIMENTS = of("experiments")
