"""Similar items: does a photo find its own product, and how long does it take?

    OMP_NUM_THREADS=1 python benchmarks/gallery.py shop.gallery catalogue/styles.csv photos \
        --model model.onnx --write docs/gallery.md

`shop.gallery` has the small photos of a catalogue, by the id that the table gives them; `photos`
has larger ones of some of the same products, called by their ids. The table has the columns id,
articleType and baseColour. Timings are of galleries of random unit vectors, written here for that.
"""

from __future__ import annotations

import argparse
import csv
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sections import command, machine, publish, table
from shopwindow.bundle import EMBEDDING_OUTPUT
from shopwindow.gallery.compression import best
from shopwindow.gallery.gallery_draft import GalleryDraft
from shopwindow.gallery.gallery_file import Gallery
from shopwindow.gallery.items import Item
from shopwindow.inference.predictor import Predictor, load_predictor

FIRST = 10
QUERIES = 300  # items of the gallery itself, to compare the search with an exhaustive one
REPEATS = 15


def main() -> None:
    """Measure, print, and write the section if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("gallery", type=Path)
    parser.add_argument("table", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--sizes", default="100000,1000000", help="items of the timed galleries")
    parser.add_argument("--write", type=Path, help="the page with the section")
    arguments = parser.parse_args()
    predictor = load_predictor(arguments.model, threads=1)
    gallery = Gallery(arguments.gallery)
    gallery.require(predictor.bundle)
    sizes = [int(size) for size in arguments.sizes.split(",")]
    lines = [
        *found_products(gallery, predictor, arguments.table, arguments.photos),
        "",
        *exactness(gallery),
        "",
        *timings(sizes, predictor),
        "",
        f"`{command()}` on {machine()}; the machine was busy with other work.",
    ]
    publish("\n".join(lines), arguments.write, "gallery")
    gallery.close()


def found_products(
    gallery: Gallery, predictor: Predictor, table_path: Path, photos: Path
) -> list[str]:
    """Ask for what looks like each photo, and look for its product, label and colour."""
    with table_path.open(newline="", encoding="utf-8") as file:
        products = {row["id"]: row for row in csv.DictReader(file)}
    own, label, both, asked = [], [], [], 0
    for path in sorted(photos.iterdir()):
        if path.stem not in products:
            continue
        found = gallery.similar(embed(predictor, path.read_bytes()), FIRST)
        ids = [item.id for item in found]
        wanted = products[path.stem]
        kinds = [same(products[name], wanted, "articleType") for name in ids]
        colours = [same(products[name], wanted, "baseColour") for name in ids]
        asked += 1
        own.append(ids.index(path.stem) if path.stem in ids else FIRST)
        others = [at for at, name in enumerate(ids) if name != path.stem]
        label.append(np.mean([kinds[at] for at in others]))
        both.append(np.mean([kinds[at] and colours[at] for at in others]))
    places = np.array(own)
    rows: list[list[object]] = [
        ["its own product comes first", share((places == 0).mean())],
        [f"its own product is among the first {FIRST}", share((places < FIRST).mean())],
        [f"others among the first {FIRST} with the same label", share(float(np.mean(label)))],
        ["… and the same colour", share(float(np.mean(both)))],
        ["its own product, or one of the same label and colour, among them",
         share(float(np.mean((places < FIRST) | (np.array(both) > 0))))],
    ]  # fmt: skip
    title = f"{asked} large photos against {len(gallery):,} small ones"
    return [table([title, "share"], rows)]


def exactness(gallery: Gallery) -> list[str]:
    """Compare the search with one through all whole embeddings, and say what an item takes."""
    database = sqlite3.connect(f"file:{gallery.path}?mode=ro", uri=True)
    blobs = database.execute("SELECT float16 FROM embedding ORDER BY number").fetchall()
    sizes = {
        name: database.execute(f"SELECT sum(length({column})) FROM {name}").fetchone()[0]  # noqa: S608
        for name, column in (("thumbnail", "jpeg"), ("embedding", "float16"), ("code", "int8"))
    }
    database.close()
    halves = np.frombuffer(b"".join(blob for (blob,) in blobs), np.float16)
    halves = halves.reshape(len(gallery), -1)
    chosen = np.random.default_rng(42).permutation(len(gallery))[:QUERIES]
    queries = halves[chosen].astype(np.float32)
    whole = np.concatenate(
        [part.astype(np.float32) @ queries.T for part in np.array_split(halves, 20)]
    )
    recalls = []
    for at, query in enumerate(queries):
        found = {item.number for item in gallery.similar(query, FIRST)}
        recalls.append(len(found & set(best(whole[:, at], FIRST).tolist())) / FIRST)
    per_item = {name: size / len(gallery) for name, size in sizes.items()}
    file_bytes = gallery.path.stat().st_size / len(gallery)
    rows: list[list[object]] = [
        [
            f"recall@{FIRST} of the search, against all whole embeddings",
            share(float(np.mean(recalls))),
        ],
        ["file, bytes per item", f"{file_bytes:,.0f}"],
        *(list[object]([f"… its {name}", f"{size:,.0f}"]) for name, size in per_item.items()),
    ]
    return [table([f"{len(gallery):,} items", ""], rows)]


def timings(sizes: list[int], predictor: Predictor) -> list[str]:
    """Write galleries of random embeddings, and time opening them and asking them."""
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            path = Path(folder) / f"{size}.gallery"
            write_random(path, size, predictor)
            opened: list[Gallery] = []
            open_ms = milliseconds(lambda: opened.append(Gallery(path)), 3)  # noqa: B023
            rng = np.random.default_rng(7)
            width = predictor.bundle.info.embedding
            queries = iter(unit(rng.standard_normal((2 * REPEATS, width), dtype=np.float32)))
            gallery = opened[-1]
            search_ms = milliseconds(lambda: gallery.similar(next(queries), 6), REPEATS)  # noqa: B023
            rows.append([f"{size:,}", f"{open_ms:,.0f}", f"{search_ms:,.1f}",
                         f"{gallery._codes.nbytes / 1e6:,.0f}"])  # fmt: skip
            for one in opened:
                one.close()
            path.unlink()
    return [
        table(["items", "opening, ms on one core", "search, ms on one core", "memory, MB"], rows)
    ]


def write_random(path: Path, count: int, predictor: Predictor) -> None:
    """Write a gallery of random unit vectors, without pictures."""
    width, step = predictor.bundle.info.embedding, 8192
    rng = np.random.default_rng(1)
    draft = GalleryDraft(path, "random")
    for first in range(0, count, step):
        names = range(first, min(first + step, count))
        vectors = unit(rng.standard_normal((len(names), width), dtype=np.float32))
        draft.add([(Item(str(name), str(name)), b"") for name in names], vectors, [])
    draft.finish(predictor.bundle)


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide rows by their length."""
    units: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units


def embed(predictor: Predictor, blob: bytes) -> NDArray[np.float32]:
    """Return the embedding of an image file."""
    images = predictor.prepare(blob)[None]
    vector: NDArray[np.float32] = predictor.probabilities(images, with_embedding=True)[
        EMBEDDING_OUTPUT
    ][0]
    return vector


def same(one: dict[str, str], other: dict[str, str], column: str) -> bool:
    """Say whether two rows have the same value."""
    return one[column] == other[column]


def share(value: float) -> str:
    """Return a fraction as a percentage."""
    return f"{100 * value:.1f} %"


def milliseconds(call: Callable[[], object], repeats: int) -> float:
    """Return the median processor time of a call, after one that does not count.

    With one thread it is the time on a core of one's own, also where other work is done.
    """
    call()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return 1000 * float(np.median(times))


if __name__ == "__main__":
    main()
