"""Pictures that show none of the labels, drawn by chance.

A network that has only ever seen clothes calls a landscape a dress, and may be sure of it. Shown
pictures of nothing it knows, with the target that every label is equally unlikely, it learns to
doubt ("outlier exposure": Hendrycks, Mazeika, Dietterich 2019, arXiv:1812.04606). That paper takes
real photos; those need a download and a licence, so these are drawn: noise at all scales, textures,
gradients, landscapes, faces, writing, emblems. Measured on real photos that no training has seen,
in docs/decisions.
"""

from __future__ import annotations

import colorsys
import math
import string
from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from shopwindow.imaging.preprocess import ResizeRule, preprocess

Picture = NDArray[np.uint8]
_PROPORTIONS = (3 / 4, 1, 4 / 3, 3 / 2, 16 / 9)  # width by height


def draw_outliers(count: int, rule: ResizeRule, *, seed: int) -> NDArray[np.uint8]:
    """Draw pictures, each of a kind and of proportions taken by chance.

    Args:
        count: How many.
        rule: How they are brought to size, as any photo is.
        seed: The same seed gives the same pictures.

    Returns:
        (count, height_px, width_px, 3) uint8, RGB.
    """
    pictures = np.empty((count, rule.height_px, rule.width_px, 3), np.uint8)
    for index, picture in enumerate(pictures):
        rng = np.random.default_rng([seed, index])
        height, width = rule.height_px, rule.width_px
        if rng.random() < 0.5:  # else as the model sees it, to the edge
            width = round(height * rng.choice(_PROPORTIONS))
        picture[:] = preprocess(KINDS[rng.integers(len(KINDS))](rng, height, width), rule)
    return pictures


def draw_noise(rng: Generator, height: int, width: int) -> Picture:
    """Independent pixels, or blocks of them, of any contrast; in colour or grey."""
    block = int(rng.choice([1, 1, 2, 3, 5, 10]))
    shape = (math.ceil(height / block), math.ceil(width / block), int(rng.choice([1, 3])))
    noise = rng.random(shape) if rng.random() < 0.5 else rng.normal(0.5, 0.25, shape)
    noise = np.broadcast_to(noise, (*shape[:2], 3)).repeat(block, 0).repeat(block, 1)
    contrast = rng.uniform(0.1, 1)
    return _bytes(0.5 + contrast * (noise[:height, :width] - 0.5) + rng.uniform(-0.3, 0.3))


def draw_clouds(rng: Generator, height: int, width: int) -> Picture:
    """Noise with a spectrum of 1/f^a, as clouds, cloth, grass and walls have it."""
    return _bytes(_blend(_cloud(rng, height, width), _colour(rng), _colour(rng)))


def draw_pattern(rng: Generator, height: int, width: int) -> Picture:
    """Stripes, checks, rings or a gradient, from edge to edge."""
    y, x = np.mgrid[:height, :width] - np.array([height, width]).reshape(2, 1, 1) * rng.random()
    angle = rng.uniform(0, math.pi)
    u, v = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    period = rng.uniform(3, height)
    waves = (
        np.sin(2 * math.pi * u / period),
        np.sin(2 * math.pi * u / period) * np.sin(2 * math.pi * v / period),
        np.sin(2 * math.pi * np.hypot(x, y) / period),
        np.tanh(u / height * rng.uniform(0.5, 3)),
    )
    wave = waves[rng.integers(len(waves))] / 2 + 0.5
    if rng.random() < 0.4:
        wave = (wave > 0.5).astype(float)
    return _bytes(
        _blend(wave, _colour(rng), _colour(rng)) + rng.normal(0, 0.02, (height, width, 1))
    )


def draw_landscape(rng: Generator, height: int, width: int) -> Picture:
    """A sky over one to four ridges or a sea, each nearer one darker or lighter."""
    y = np.linspace(0, 1, height)[:, None]
    sky = np.array(colorsys.hsv_to_rgb(rng.uniform(0.5, 0.68), rng.uniform(0, 0.7), 0.9))
    if rng.random() < 0.25:
        sky = _colour(rng)
    picture = _blend(np.broadcast_to(y, (height, width)), sky * rng.uniform(0.5, 1), 0.5 + sky / 2)
    picture = picture + 0.3 * (_cloud(rng, height, width)[..., None] - 0.5) * (rng.random() < 0.6)
    horizon = rng.uniform(0.25, 0.6)
    for _ in range(rng.integers(1, 5)):
        ridge = horizon + rng.uniform(0.02, 0.3) * (_ridge(rng, width) - 0.5)
        colour = np.array(
            colorsys.hsv_to_rgb(
                rng.uniform(0.05, 0.65), rng.uniform(0.1, 0.8), rng.uniform(0.1, 0.8)
            )
        )
        ground = colour * (0.6 + 0.8 * _cloud(rng, height, width)[..., None])
        picture = np.where((y > ridge)[..., None], ground, picture)
        horizon += rng.uniform(0.05, 0.25)
    return _bytes(picture + rng.normal(0, 0.02, picture.shape))


def draw_face(rng: Generator, height: int, width: int) -> Picture:
    """An oval with eyes, nose, mouth and hair, larger than in a photo that shows clothes."""
    image, draw = _canvas(rng, height, width)
    tone = np.array([1, 0.78, 0.62]) * rng.uniform(0.35, 1)
    skin, hair, dark = _pixel(tone), _pixel(_colour(rng) * rng.uniform(0.1, 0.6)), (30, 20, 20)
    w = width * 4 * rng.uniform(0.5, 1.1)
    h = w * rng.uniform(1.15, 1.45)
    cx, cy = width * 4 * rng.uniform(0.35, 0.65), height * 4 * rng.uniform(0.4, 0.6)

    def oval(x: float, y: float, rx: float, ry: float, fill: tuple[int, ...]) -> None:
        draw.ellipse(
            [cx + (x - rx) * w, cy + (y - ry) * h, cx + (x + rx) * w, cy + (y + ry) * h], fill
        )

    oval(0, rng.uniform(-0.12, 0.1), rng.uniform(0.52, 0.66), rng.uniform(0.52, 0.65), hair)
    draw.rectangle([cx - 0.2 * w, cy + 0.3 * h, cx + 0.2 * w, cy + h], _pixel(tone * 0.9))
    oval(0, 0.05, 0.5, 0.5, skin)
    for side in (-1, 1):
        oval(0.2 * side, -0.05, 0.1, 0.045, (240, 240, 240))
        oval(0.2 * side, -0.05, 0.045, 0.045, dark)
        oval(0.2 * side, -0.16, 0.13, 0.018, hair)
    oval(0, 0.12, rng.uniform(0.04, 0.08), 0.08, _pixel(tone * 0.8))
    oval(0, 0.3, rng.uniform(0.12, 0.22), rng.uniform(0.02, 0.07), _pixel(tone * [0.9, 0.5, 0.5]))
    return _shrunk(image, height, width, rng)


def draw_writing(rng: Generator, height: int, width: int) -> Picture:
    """Lines of letters, from a full page to one large word."""
    image, draw = _canvas(rng, height, width, plain=True)
    ground = np.asarray(image)[0, 0] / 255
    away = -1 if ground.mean() > 0.5 else 1
    ink = _pixel(ground + away * rng.uniform(0.4, 1))
    size = rng.uniform(0.06, 0.5) * image.height
    font = ImageFont.load_default(size)
    letters = np.array(list(string.ascii_letters + string.digits + "    "))
    y = rng.uniform(-0.2, 0.6) * size
    while y < image.height:
        line = "".join(rng.choice(letters, rng.integers(3, 30)))
        draw.text((rng.uniform(-0.5, 1) * size, y), line, ink, font)
        y += size * rng.uniform(1.1, 2)
    return _shrunk(image, height, width, rng)


def draw_emblem(rng: Generator, height: int, width: int) -> Picture:
    """A few plain shapes and perhaps a word on a plain ground: logos, icons, charts."""
    image, draw = _canvas(rng, height, width, plain=rng.random() < 0.8)
    centre = np.array([image.width, image.height]) / 2
    for _ in range(rng.integers(1, 7)):
        radius = rng.uniform(0.05, 0.45) * image.width
        x, y = centre + rng.normal(0, 0.15, 2) * image.size
        fill = _pixel(_colour(rng))
        match rng.integers(4):
            case 0:
                draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill)
            case 1:
                draw.regular_polygon(
                    (x, y, radius), int(rng.integers(3, 9)), rng.uniform(0, 90), fill
                )
            case 2:
                box = [x - radius, y - radius, x + radius, y + radius]
                start, end = rng.uniform(0, 360, 2)
                draw.arc(box, start, end, fill, int(rng.uniform(2, 30)))
            case _:
                draw.line(
                    [tuple(rng.random(2) * image.size) for _ in range(3)],
                    fill,
                    int(rng.uniform(2, 30)),
                )
    if rng.random() < 0.4:
        word = "".join(rng.choice(list(string.ascii_letters), rng.integers(2, 9)))
        font = ImageFont.load_default(rng.uniform(0.1, 0.3) * image.width)
        draw.text(tuple(centre), word, _pixel(_colour(rng)), font, anchor="mm")
    return _shrunk(image, height, width, rng)


KINDS: tuple[Callable[[Generator, int, int], Picture], ...] = (
    draw_noise,
    draw_clouds,
    draw_pattern,
    draw_landscape,
    draw_face,
    draw_writing,
    draw_emblem,
)


def _canvas(
    rng: Generator, height: int, width: int, *, plain: bool = False
) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """A ground four times as large as the picture, so that edges come out smooth."""
    if plain or rng.random() < 0.5:
        colour = np.ones(3) * rng.choice([0, 1]) if rng.random() < 0.5 else _colour(rng)
        image = Image.new("RGB", (4 * width, 4 * height), _pixel(colour))
    else:
        kind = (draw_clouds, draw_pattern, draw_landscape)[rng.integers(3)]
        image = Image.fromarray(kind(rng, height, width)).resize((4 * width, 4 * height))
    return image, ImageDraw.Draw(image)


def _shrunk(image: Image.Image, height: int, width: int, rng: Generator) -> Picture:
    pixels = np.asarray(image.resize((width, height), Image.Resampling.BOX)) / 255
    return _bytes(pixels + rng.normal(0, rng.choice([0, 0.02]), pixels.shape))


def _cloud(rng: Generator, height: int, width: int) -> NDArray[np.float64]:
    """(height, width) from 0 to 1: Gaussian noise with the amplitude spectrum 1/f^a."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.normal(size=(height, width))) / frequency ** rng.uniform(0.5, 2.5)
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, (height, width))
    low, high = field.min(), field.max()
    scaled: NDArray[np.float64] = (field - low) / max(high - low, 1e-9)
    return scaled


def _ridge(rng: Generator, width: int) -> NDArray[np.float64]:
    ridge: NDArray[np.float64] = _cloud(rng, 8, width)[0]
    return ridge


def _blend(
    share: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(H, W) from 0 to 1 and two colours -> (H, W, 3)."""
    return first + share[..., None] * (second - first)


def _colour(rng: Generator) -> NDArray[np.float64]:
    return np.array(colorsys.hsv_to_rgb(rng.random(), rng.random() ** 1.5, rng.random() ** 0.7))


def _pixel(colour: NDArray[np.float64]) -> tuple[int, ...]:
    return tuple(int(255 * channel) for channel in np.clip(colour, 0, 1))


def _bytes(picture: NDArray[np.float64]) -> Picture:
    return (255 * np.clip(picture, 0, 1)).astype(np.uint8)
