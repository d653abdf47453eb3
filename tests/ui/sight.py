"""How colours look: contrast as WCAG 2 has it, and to eyes that lack one kind of cone."""

from __future__ import annotations

from typing import Final

Colour = tuple[float, float, float]

#: Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color
#: vision deficiency" (2009), severity 1.0, over linear RGB.
SIGHTS: Final[dict[str, tuple[Colour, Colour, Colour]]] = {
    "trichromacy": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deuteranopia": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritanopia": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def linear(colour: str) -> Colour:
    """`#rrggbb` as linear light."""
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return _linear(red), _linear(green), _linear(blue)


def _linear(part: float) -> float:
    return part / 12.92 if part <= 0.04045 else float(((part + 0.055) / 1.055) ** 2.4)


def _luminance(light: Colour) -> float:
    red, green, blue = light
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """From 1 to 21."""
    low, high = sorted((_luminance(linear(one)), _luminance(linear(other))))
    return (high + 0.05) / (low + 0.05)


def seen(colour: str, kind: str) -> Colour:
    """What these eyes make of a colour, as linear light."""
    light = linear(colour)
    red, green, blue = (
        min(max(sum(by * part for by, part in zip(row, light, strict=True)), 0.0), 1.0)
        for row in SIGHTS[kind]
    )
    return red, green, blue


def difference(one: Colour, other: Colour) -> float:
    """Of two colours in linear light, by CIE 1976: 2.3 can just be noticed."""
    squares = ((a - b) ** 2 for a, b in zip(_lab(one), _lab(other), strict=True))
    return float(sum(squares) ** 0.5)


def _lab(light: Colour) -> Colour:
    red, green, blue = light
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = _luminance(light)
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.0890
    fx, fy, fz = (
        float(part ** (1 / 3)) if part > 0.008856 else 7.787 * part + 16 / 116 for part in (x, y, z)
    )
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)
