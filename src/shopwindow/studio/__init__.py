"""The studio: from photos to a model in the window, on one page; docs/studio.md tells its users.

What is here knows no Flask; `web/studio.py` gives it addresses.
"""

from shopwindow.studio.studio import Studio

__all__ = ["Studio"]
