"""Find the sub-pixel shift between two rasters: the tests' own yardstick."""

import numpy as np
from scipy import ndimage, optimize


def best_shift(image, truth, valid, elevation=None, *, limit_px=2.0):
    """Shift (dy, dx) of ``image`` against ``truth`` that explains it best, in pixels.

    Positive dy: what the truth has at row r stands in the image at row r + dy. The truth is
    blurred as well as the data ask for, because a sensor blurs and because interpolation at a
    fractional shift blurs too: a sharper truth would fake a shift. With an elevation, slopes lit
    by the sun may brighten the image, so that shading does not pass for a shift.
    """
    keep = ndimage.binary_erosion(valid, iterations=3, border_value=0)
    assert keep.sum() > 200, "too few pixels to find a shift"
    truth = np.where(np.isfinite(truth), truth, np.nanmean(truth)).astype(float)
    layers = [truth]
    if elevation is not None:
        layers += [truth * slope for slope in np.gradient(elevation.astype(float))]
    spectra = [np.fft.rfft2(np.pad(layer, 16, mode="reflect")) for layer in layers]
    fy = np.fft.fftfreq(truth.shape[0] + 32)[:, None]
    fx = np.fft.rfftfreq(truth.shape[1] + 32)[None, :]
    values = image[keep].astype(float)
    spread = ((values - values.mean()) ** 2).sum()

    def unexplained(guess):
        dy, dx, sigma = guess
        if max(abs(dy), abs(dx)) > limit_px or not 0 <= sigma <= 3:
            return 2.0
        kernel = np.exp(
            -2j * np.pi * (fy * dy + fx * dx) - 2 * (np.pi * sigma) ** 2 * (fy**2 + fx**2)
        )
        moved = [
            np.fft.irfft2(s * kernel, (truth.shape[0] + 32, truth.shape[1] + 32))[16:-16, 16:-16][
                keep
            ]
            for s in spectra
        ]
        design = np.stack([*moved, np.ones(values.size)], axis=1)
        rest = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
        return (rest**2).sum() / spread

    corners = [(dy, dx, 0.7) for dy in (-1.0, 0.0, 1.0) for dx in (-1.0, 0.0, 1.0)]
    start = min(corners, key=unexplained)
    found = optimize.minimize(
        unexplained, start, method="Nelder-Mead", options={"xatol": 2e-3, "fatol": 1e-8}
    )
    return found.x[:2]
