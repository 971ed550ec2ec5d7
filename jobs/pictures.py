"""Pictures (PNG) of maps: false colour, index maps with a legend, before and after."""

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from geoquarry.engine.atomic import replacing
from geoquarry.schemas.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Rgb = ArrayLike
"""Three bands, shape (3, y, x): shown as red, green, blue; NaN = no value."""
Stretch = Sequence[tuple[float, float]]
"""Per band the values shown as black and as full."""

NOTE = "not crosstalk-corrected"
GREY = (0.82, 0.82, 0.82)
"""No value: neither black (dark ground) nor white (cloud, snow)."""
PERCENTILES = (2.0, 98.0)
MAX_PIXELS = 2048
"""A picture shows no more pixels than this per side; larger maps are thinned."""
LEGEND_WIDTH = 70
"""Characters of the legend beside the colour bar, per line."""
BAR_WIDTH = 2.8
"""Inches beside a map for its bar and five lines of legend: with less the map would shrink."""
DPI = 120


def refuse_without_matplotlib() -> None:
    """Say what pictures need, before the work for them.

    Raises
    ------
    UsageError
    """
    try:
        import matplotlib.figure  # noqa: F401  only to see whether it is there
    except ModuleNotFoundError as missing:
        raise UsageError("Pictures need matplotlib: pip install '.[demo]' in a clone.") from missing


def stretch_of(
    rgb: Rgb, percentiles: tuple[float, float] = PERCENTILES
) -> list[tuple[float, float]]:
    """Limits of each band by percentiles of its finite values.

    Returns
    -------
    limits : list of (low, high), one per band
        high > low always; (0, 1) for a band without values.

    Examples
    --------
    >>> stretch_of(np.arange(303.0).reshape(3, 101, 1), (0, 100))
    [(0.0, 100.0), (101.0, 201.0), (202.0, 302.0)]
    """
    limits = []
    for band in np.asarray(rgb, np.float64):
        values = band[np.isfinite(band)]
        low, high = np.percentile(values, percentiles) if values.size else (0.0, 1.0)
        limits.append((float(low), float(high if high > low else low + 1.0)))
    return limits


def false_colour(rgb: Rgb, stretch: Stretch | None = None) -> NDArray[np.float32]:
    """Three bands as a picture.

    Parameters
    ----------
    rgb : array, shape (3, y, x)
    stretch : sequence of (low, high), optional
        Default: 2nd to 98th percentile of each band.

    Returns
    -------
    picture : float32, shape (y, x, 3)
        0..1; grey where any band has no value.

    Examples
    --------
    >>> false_colour([[[0.0, 2.0]], [[1.0, 1.0]], [[0.5, np.nan]]], [(0, 2)] * 3).round(2)
    array([[[0.  , 0.5 , 0.25],
            [0.82, 0.82, 0.82]]], dtype=float32)
    """
    bands = np.asarray(rgb, np.float32)
    if bands.ndim != 3 or bands.shape[0] != 3:
        raise UsageError(f"A false colour picture needs three bands, got shape {bands.shape}.")
    limits = stretch_of(bands) if stretch is None else stretch
    low, high = (np.array(side, np.float32)[:, None, None] for side in zip(*limits, strict=True))
    picture = np.clip((bands - low) / (high - low), 0, 1)
    picture = np.where(np.isfinite(bands).all(axis=0), picture, np.array(GREY)[:, None, None])
    return np.moveaxis(picture, 0, -1).astype(np.float32)


def draw_false_colour(
    path: str | os.PathLike[str],
    red: ArrayLike,
    green: ArrayLike,
    blue: ArrayLike,
    title: str,
    stretch: Stretch | None = None,
    *,
    note: str = NOTE,
    pixel_m: float | None = None,
) -> Path:
    """Draw three bands as one colour picture.

    Parameters
    ----------
    path : path
        A PNG file; replaced when it exists.
    red, green, blue : array, shape (y, x)
        Bands shown in these colours; NaN is drawn grey.
    title : str
    stretch : sequence of (low, high), optional
        Default: 2nd to 98th percentile of each band.
    note : str
        Small print below the picture.
    pixel_m : float, optional
        Pixel size on the map; draws a scale bar.

    Returns
    -------
    path : Path
    """
    bands = _thinned(np.stack([np.asarray(band, np.float32) for band in (red, green, blue)]))
    figure, (axes,) = _figure(1, bands[0].shape)
    _show(axes, false_colour(bands[0], stretch), title)
    _scale_bar(axes, bands[0].shape[-1], pixel_m, bands[1])
    return _save(figure, path, note)


def draw_pair(
    path: str | os.PathLike[str],
    before: tuple[Rgb, str],
    after: tuple[Rgb, str],
    *,
    note: str = NOTE,
    pixel_m: float | None = None,
) -> Path:
    """Draw two colour pictures side by side, each with its own stretch.

    Parameters
    ----------
    path : path
        A PNG file; replaced when it exists.
    before, after : (array of shape (3, y, x), title)
    note, pixel_m
        As for ``draw_false_colour``.
    """
    thinned = [_thinned(np.asarray(rgb, np.float32)) for rgb, _ in (before, after)]
    figure, both = _figure(2, thinned[0][0].shape)
    for axes, (bands, step), (_, title) in zip(both, thinned, (before, after), strict=True):
        _show(axes, false_colour(bands), title)
        _scale_bar(axes, bands.shape[-1], pixel_m, step)
    return _save(figure, path, note)


def draw_index(
    path: str | os.PathLike[str],
    values: ArrayLike,
    title: str,
    legend: str,
    vmin: float | None = None,
    vmax: float | None = None,
    *,
    unit: str = "",
    note: str = NOTE,
    pixel_m: float | None = None,
) -> Path:
    """Draw one index as a coloured map with a colour bar.

    Parameters
    ----------
    path : path
        A PNG file; replaced when it exists.
    values : array, shape (y, x)
        Physical values; NaN is drawn grey.
    title : str
    legend : str
        Formula and meaning, beside the colour bar.
    vmin, vmax : float, optional
        Values at the ends of the colour bar; default: 2nd and 98th percentile. The bar's arrows
        say that values lie beyond.
    unit : str
    note, pixel_m
        As for ``draw_false_colour``.
    """
    from matplotlib import colormaps

    (data,), step = _thinned(np.asarray(values, np.float32)[None])
    ((low, high),) = stretch_of(data[None])
    low, high = low if vmin is None else vmin, high if vmax is None else vmax
    figure, (axes,) = _figure(1, data.shape, bar=True)
    colours = colormaps["viridis"].with_extremes(bad=GREY)
    image = axes.imshow(
        np.ma.masked_invalid(data), cmap=colours, vmin=low, vmax=high, interpolation="nearest"
    )
    finite = data[np.isfinite(data)]
    extend = ("neither", "min", "max", "both")[
        int(bool((finite < low).any())) + 2 * int(bool((finite > high).any()))
    ]
    bar = figure.colorbar(image, ax=axes, shrink=0.85, extend=extend)
    lines = [x for text in legend.splitlines() for x in textwrap.wrap(text, LEGEND_WIDTH)]
    bar.set_label("\n".join(lines) + f" [{unit}]" * bool(unit), fontsize=8)
    _dress(axes, title)
    if not finite.size:
        axes.text(0.5, 0.5, "no value anywhere", transform=axes.transAxes, ha="center")
    _scale_bar(axes, data.shape[-1], pixel_m, step)
    return _save(figure, path, f"grey: no value; {note}" if note else "grey: no value")


def _thinned(bands: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    step = -(-max(bands.shape[1:]) // MAX_PIXELS)
    return bands[:, ::step, ::step], step


def _figure(
    count: int, shape: tuple[int, ...], *, bar: bool = False
) -> "tuple[Figure, list[Axes]]":
    """A figure on the Agg canvas: no display, no pyplot, no state left behind."""
    refuse_without_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    height, width = shape[-2:]
    side = 5.0
    aspect = min(max(width / height, 0.4), 2.5)
    figure = Figure(
        figsize=(count * side * aspect + (BAR_WIDTH if bar else 0.0), side + 0.8),
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    return figure, list(np.ravel(figure.subplots(1, count)))


def _show(axes: "Axes", picture: NDArray[np.float32], title: str) -> None:
    axes.imshow(picture, interpolation="nearest")
    _dress(axes, title)


def _dress(axes: "Axes", title: str) -> None:
    axes.set_title(title, fontsize=10, wrap=True)
    axes.set_xticks([])
    axes.set_yticks([])


def _scale_bar(axes: "Axes", width: int, pixel_m: float | None, step: int) -> None:
    """A bar of a round length near a quarter of the picture, in map metres."""
    if not pixel_m:
        return
    span = width * step * pixel_m / 4
    unit = 10.0 ** np.floor(np.log10(span))
    length = max(n * unit for n in (1, 2, 5) if n * unit <= span)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    size = length / (step * pixel_m) / width
    style: dict[str, Any] = {"transform": axes.transAxes, "color": "white", "clip_on": False}
    axes.plot([0.04, 0.04 + size], [0.05, 0.05], linewidth=5, **{**style, "color": "black"})
    axes.plot([0.04, 0.04 + size], [0.05, 0.05], linewidth=3, **style)
    axes.text(
        0.04,
        0.07,
        f"{text} (map)",
        fontsize=7,
        va="bottom",
        bbox={"facecolor": "black", "alpha": 0.5, "pad": 1, "linewidth": 0},
        **style,
    )


def _save(figure: "Figure", path: str | os.PathLike[str], note: str) -> Path:
    if note:
        figure.supxlabel(note, fontsize=7, color="0.35")
    with replacing(path) as part:
        # Without the software's name and the date, equal maps give equal files.
        figure.savefig(part, format="png", dpi=DPI, metadata={"Software": None})
    return Path(path)
