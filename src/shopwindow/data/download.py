"""Public data sets by name, fetched with the library of the site that holds them."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from shopwindow.errors import DownloadError, MissingExtraError, UsageError


@dataclass(frozen=True)
class PublicDataset:
    """A data set on Kaggle.

    Attributes:
        handle: `owner/name`.
        table: A file that it must hold, relative.
        train_options: What `shopwindow train` needs besides the folder.
    """

    handle: str
    table: str
    train_options: str

    @property
    def page(self) -> str:
        """Address of its page."""
        return f"https://www.kaggle.com/datasets/{self.handle}"


PUBLIC_DATASETS = {
    "fashion-product-images-small": PublicDataset(
        handle="paramaggarwal/fashion-product-images-small",
        table="styles.csv",
        train_options="--label-column articleType",
    ),
}


def download_dataset(name: str, out_dir: Path) -> Path:
    """Fetch a public data set into a folder.

    Args:
        name: One of `PUBLIC_DATASETS`.
        out_dir: A new or an empty folder. The files appear in it when all have arrived; a folder
            that already holds the data set stays as it is.

    Returns:
        `out_dir`.

    Raises:
        UsageError: An unknown name, or a folder that holds something else.
        MissingExtraError: kagglehub is not installed.
        DownloadError: It could not be fetched. The message says how to get it by hand.
    """
    if name not in PUBLIC_DATASETS:
        raise UsageError(f"Unknown data set {name!r}: expected {', '.join(PUBLIC_DATASETS)}.")
    dataset = PUBLIC_DATASETS[name]
    if (out_dir / dataset.table).is_file():
        return out_dir
    is_new = not out_dir.exists()
    if not is_new and (not out_dir.is_dir() or any(out_dir.iterdir())):
        raise UsageError(f"{out_dir} holds something else: name an empty or a new folder.")
    try:
        import kagglehub
    except ImportError as error:
        raise MissingExtraError("Downloading from Kaggle", "download") from error
    by_hand = (
        f"Get it by hand: download {dataset.page} in a browser, unzip it into {out_dir}, then "
        f"run: shopwindow train {out_dir} {dataset.train_options}"
    )
    partial = None
    try:
        out_dir.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=".download-", dir=out_dir))
        kagglehub.dataset_download(dataset.handle, output_dir=str(partial))
        if not (partial / dataset.table).is_file():
            raise FileNotFoundError(f"the download holds no {dataset.table}")
        # The table, by which the data set is known to be whole, last.
        arrived = (path for path in partial.iterdir() if not path.name.startswith("."))
        for path in sorted(arrived, key=lambda path: path.name == dataset.table):
            path.replace(out_dir / path.name)
    except Exception as error:  # kagglehub raises its own, requests', zipfile's and the system's
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = lines[0].rstrip(".")
        raise DownloadError(f"{name} could not be downloaded ({reason}). {by_hand}") from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
            if is_new and not any(out_dir.iterdir()):
                out_dir.rmdir()
    return out_dir
