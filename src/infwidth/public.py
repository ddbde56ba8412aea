"""What is public: read from ``__init__.pyi``, where type checkers read it, so that it is written down once.

It needs the standard library only, and imports nothing of what it names.
"""

import ast
import functools
from collections.abc import Mapping
from pathlib import Path

DECIDES_NUMBERS = False

STUB = Path(__file__).with_name("__init__.pyi")


@functools.cache
def names() -> Mapping[str, str]:
    """Every public name, and the module that it is in."""
    imports = [node for node in ast.parse(STUB.read_text()).body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in imports for alias in node.names}
