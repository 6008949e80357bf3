"""A small shop, and the gallery of it."""

from __future__ import annotations

import csv
from pathlib import Path

from PIL import Image

from shopwindow.data.spec import DataSpec
from shopwindow.gallery.building import build_gallery
from shopwindow.gallery.items import ItemColumns, read_items
from shopwindow.inference.predictor import load_predictor

# Name, colour, link; from pure red to pure blue.
PRODUCTS = [
    ("Red dress", (230, 10, 10), "https://shop.example/1"),
    ("Rust coat", (200, 60, 20), "http://shop.example/2?a=1&b=2"),
    ("Plum scarf", (150, 20, 120), ""),
    ("Violet sock", (110, 20, 160), "javascript:alert(1)"),
    ("Navy suit", (10, 10, 120), "https://shop.example/5"),
    ("Blue jeans", (20, 40, 220), "https://shop.example/6"),
    ("Sky <b>shirt</b>", (120, 160, 250), "https://shop.example/7"),
    ("Green hat", (20, 200, 40), "https://shop.example/8"),
]
COLUMNS = ItemColumns(id="sku", title="name", link="url")


def write_shop(folder: Path) -> Path:
    """Write `products.csv` (sku, photo, name, url, label) and a photo of each product."""
    folder.mkdir(parents=True)
    with (folder / "products.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["sku", "photo", "name", "url", "label"])
        for number, (name, colour, link) in enumerate(PRODUCTS, 1):
            Image.new("RGB", (300, 400), colour).save(folder / f"{number}.jpg")
            label = name.split()[-1]
            table.writerow([f"SKU-{number}", f"{number}.jpg", name, link, label])
    return folder


def write_gallery(folder: Path, bundle: Path) -> Path:
    """Write a shop and its gallery into an empty folder, and return the gallery."""
    items = read_items(DataSpec(write_shop(folder / "shop"), image_column="photo"), COLUMNS)
    build_gallery(items, load_predictor(bundle, threads=1), folder / "shop.gallery")
    return folder / "shop.gallery"
