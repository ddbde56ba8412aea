"""``python -m infwidth train ...`` is ``infwidth train ...``."""

from infwidth.console import main

DECIDES_NUMBERS = False

if __name__ == "__main__":
    main()
