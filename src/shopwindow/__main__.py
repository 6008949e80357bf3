"""`python -m shopwindow`."""

import sys

from shopwindow.cli import main

if __name__ == "__main__":
    sys.exit(main())
