"""The browser of the tests, where there is one."""

from __future__ import annotations

import os
import shutil

HOW_TO_HAVE_IT = "apt-get install --no-install-recommends chromium, or name one with CHROMIUM=PATH"


def find_chromium() -> str | None:
    named = os.environ.get("CHROMIUM")
    return shutil.which(named or "chromium", path=f"/usr/bin:{os.environ.get('PATH', '')}")
