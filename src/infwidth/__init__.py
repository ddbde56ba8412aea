"""infwidth: infinitely wide neural networks that learn features, beside the finite networks they are limits of.

    import infwidth as iw

    limit = iw.pi_limit(inputs=64, outputs=10)
    iw.fit(limit, x, y)

The public names are those of ``__init__.pyi`` beside this file (``infwidth.__all__``); each is imported when it is
first asked for, so that ``import infwidth`` costs nothing and a run's code is the code that it uses.
"""

from infwidth import sources as sources  # before anything else of the package, whose texts it keeps
from infwidth.command import guard_start
from infwidth.version import __version__ as __version__

guard_start()


def __getattr__(name: str) -> object:
    """A public name, or the list of all of them."""
    # Imported by name, here and below: an import statement would make what is public a part of every run's code.
    from importlib import import_module

    public = import_module("infwidth.public").names()
    if name == "__all__":
        return ["__version__", *public]
    if name in public:
        return getattr(import_module(public[name]), name)
    raise AttributeError(f"module 'infwidth' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})
