"""Print the figures of docs/accuracy.md: what goes in, comes out, and how far it is off.

python benchmarks/accuracy.py                      # closed loop and registration, simulated
python benchmarks/accuracy.py --demo demo          # the finished demo: reflectance and masks
python benchmarks/accuracy.py --scenes DIR         # registration on scenes made by others
python benchmarks/accuracy.py --profiles           # 6S by named profile against our columns
"""

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from chain import show
from numpy.typing import NDArray
from scipy import ndimage

from geoquarry.engine.frame import pixel_coordinates
from geoquarry.engine.readers import reader
from geoquarry.jobs.cut import cut, to_lattice
from geoquarry.jobs.simulate import simulate
from geoquarry.schemas import blob, flags
from geoquarry.schemas.grid import Grid, grid
from geoquarry.schemas.sensor import Sensor, sensor
from geoquarry.udfs.warp import bilinear_float

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from loop import AIR, NAMES, recovered, rounding_error, smoothed
from yardstick import best_shift

LATITUDES = (0.02, 32.78, -60.3)
UNUSABLE = flags.NOT_OBSERVED | flags.SATURATED
BUFFER_PX = 5
"""90 m around a cloud, in pixels of 25 m on the ground, and one more."""


def on_tile(row: dict[str, Any], frame: Grid, name: str, fill: int = 0) -> NDArray[Any]:
    """One raster of a row on the whole tile."""
    window = blob.decode(row[name])
    full = np.full(frame.shape, fill, window.dtype)
    top, left = row["row0"], row["col0"]
    full[top : top + window.shape[0], left : left + window.shape[1]] = window
    return full


def rmse(error: NDArray[Any]) -> float:
    return float(np.sqrt((error.astype(float) ** 2).mean()))


def closed_loop() -> None:
    """Cloud-free scenes without noise at three latitudes, as in tests/test_closed_loop.py."""
    columns: dict[str, list[list[float]]] = {"unwarped": [], "warped": [], "shift": []}
    bounds = []
    for latitude_deg in LATITUDES:
        with tempfile.TemporaryDirectory() as folder:
            made = simulate(
                Path(folder),
                size=96,
                scenes=1,
                seed=3,
                latitude_deg=latitude_deg,
                cloud=0,
                noise_dn=0,
                keep_lattice_truth=True,
                atmosphere=AIR,
            )
            granule = reader("aster_l1t").read(Path(folder) / made["scenes"][0]["file"])
            with np.load(Path(folder) / "lattice" / f"{granule.granule_id}.npz") as arrays:
                lattice = dict(arrays)
            with np.load(Path(folder) / made["truth"], allow_pickle=False) as arrays:
                truth = arrays["reflectance"]
        frame, tile = grid(made["grid"]), (made["tile_x"], made["tile_y"])
        row = cut(granule, to_lattice(granule), frame, *tile)
        swir = granule.bands[NAMES[3]]
        rows, cols = pixel_coordinates(
            frame.crs, frame.transform(*tile), frame.shape, swir.crs, swir.transform
        )
        bits = on_tile(row, frame, "flags", flags.NOT_OBSERVED)
        tile_dn = np.stack([on_tile(row, frame, name) for name in NAMES])
        got = recovered(tile_dn, granule)
        lost = [rounding_error(place, granule) for place in range(9)]
        bounds.append(lost)
        own, warped, shifts = [], [], []
        for place, name in enumerate(NAMES):
            dn = granule.bands[name].data
            use = (dn > 0) & (dn < 255) & np.isfinite(lattice[name])
            seen = recovered(np.broadcast_to(dn, (9, *dn.shape)), granule)[place]
            own.append(rmse((seen - lattice[name])[use]) / lost[place])
            true = lattice[name].astype(float)
            if granule.bands[name].transform[0] != swir.transform[0]:
                true = smoothed(true, swir.data.shape)
            true = bilinear_float(true, rows, cols)
            use = ((bits & UNUSABLE) == 0) & np.isfinite(true)
            warped.append(rmse((got[place] - true)[use]) / lost[place])
            here = tile_dn[place]
            shifts.append(best_shift(here, truth[place], (here > 0) & (here < 255)))
        columns["unwarped"].append(own)
        columns["warped"].append(warped)
        columns["shift"].append(shifts)
    print("## Closed loop: RMSE of the recovered reflectance, in units of the rounding of DN\n")
    head = ["band", "rounding alone (equator)"]
    head += [f"{what}, {lat:g}" for what in ("own pixels", "warped") for lat in LATITUDES]
    rows_out = [head]
    for place, name in enumerate(NAMES):
        line = [name, f"{bounds[0][place]:.5f}"]
        for what in ("unwarped", "warped"):
            line += [f"{column[place]:.2f}" for column in columns[what]]
        rows_out.append(line)
    show(rows_out)
    print("## Registration on simulated scenes\n")
    lines = [["latitude", "largest of 9 bands, px", "VNIR against SWIR, px"]]
    for latitude_deg, shifts in zip(LATITUDES, columns["shift"], strict=True):
        lines.append([f"{latitude_deg:g}", *registration(shifts)])
    show(lines)


def registration(shifts: Any) -> list[str]:
    between = np.mean(shifts[:3], axis=0) - np.mean(shifts[3:], axis=0)
    return [f"{np.hypot(*np.transpose(shifts)).max():.3f}", f"{np.hypot(*between):.3f}"]


def others(folder: Path) -> None:
    """Registration on scenes of other makers, with shaded slopes."""
    print("## Registration on independent simulated scenes\n")
    frame = grid("res-30_tilesize-96")
    lines = [["site", "acquired", "largest of 9 bands, px", "VNIR against SWIR, px"]]
    for site in json.loads((folder / "scenes.json").read_text())["sites"]:
        truth = np.load(folder / f"truth_{site['site']}.npz")
        for item in site["granules"]:
            granule = reader("aster_l1t").read(folder / item["file"])
            row = cut(granule, to_lattice(granule), frame, *site["tile_index"])
            shifts = []
            for place, name in enumerate(NAMES):
                dn = on_tile(row, frame, name)
                good = (dn > 0) & (dn < 255)
                shifts.append(best_shift(dn, truth["reflectance"][place], good, truth["elevation"]))
            day = f"{granule.acquired:%Y-%m-%d}"
            lines.append([site["site"], day, *registration(shifts)])
    show(lines)


def demo(folder: Path) -> None:
    """Reflectance and masks of a finished demo, against its own truth."""
    made = json.loads((folder / "scenes" / "scenes.json").read_text())
    frame, tile = grid(made["grid"]), (made["tile_x"], made["tile_y"])
    with np.load(folder / "scenes" / made["truth"], allow_pickle=False) as arrays:
        truth = dict(arrays)
    reflectance(folder, frame, made, truth)
    print("## Masks of the demo's scenes, each against its truth\n")
    head = ["sun zenith", "cloud", "shadow", "cloud found", "shadow found"]
    lines = [[*head, "false cloud", "false cloud, far", "false shadow, far"]]
    wrong = np.zeros(frame.shape, int)
    for place, scene in enumerate(made["scenes"]):
        granule = reader("aster_l1t").read(folder / "scenes" / scene["file"])
        row = cut(granule, to_lattice(granule), frame, *tile)
        bits = on_tile(row, frame, "flags", flags.NOT_OBSERVED)
        seen = (bits & flags.NOT_OBSERVED) == 0
        cloud, shadow = truth["cloud"][place] & seen, truth["shadow"][place] & seen
        found, dark = (bits & flags.CLOUD) != 0, (bits & flags.SHADOW) != 0
        clear = seen & ~cloud & ~shadow
        around = ndimage.distance_transform_edt(~(truth["cloud"][place] | truth["shadow"][place]))
        far = clear & (around > BUFFER_PX)
        line = [f"{granule.sun_zenith_deg:.0f}"]
        line += [percent(one, seen) for one in (cloud, shadow)]
        line += [percent(found, cloud), percent(found | dark, shadow)]
        line.append(percent(found, clear))
        line += [percent(found, far), percent(dark, far)]
        lines.append(line)
        wrong += found & clear
    show(lines)
    print("Scenes (of all) in which clear ground is called cloud, mean by what the ground is:\n")
    means = {
        str(name): wrong[truth["classes"] == number].mean()
        for number, name in enumerate(truth["class_names"])
        if (truth["classes"] == number).sum() > 50
    }
    ordered = sorted(means.items(), key=lambda item: -item[1])
    print(", ".join(f"{name} {mean:.1f}" for name, mean in ordered) + "\n")


def percent(part: NDArray[Any], whole: NDArray[Any]) -> str:
    return f"{100 * float(part[whole].mean()):.1f} %" if whole.any() else "-"


def reflectance(folder: Path, frame: Grid, made: dict[str, Any], truth: dict[str, Any]) -> None:
    """Pixels the median calls clear, apart by how many missed clouds and shadows went in."""
    from geoquarry.engine.local import open_engine
    from geoquarry.jobs.demo import METHODS, TABLE, UNCLEAR
    from geoquarry.jobs.maps import physical

    engine = open_engine(str(folder / "warehouse"))
    got = physical(engine, METHODS["mosaic"], (made["tile_x"], made["tile_y"]))
    clear = (got["flags"] & UNCLEAR) == 0
    order = {scene["granule_id"]: place for place, scene in enumerate(made["scenes"])}
    used = np.zeros((2, *clear.shape), int)
    for row in engine.read(TABLE, ["granule_id", "row0", "col0", "flags"]).read_all().to_pylist():
        bits = on_tile(row, frame, "flags", flags.NOT_OBSERVED)
        seen = (bits & (UNUSABLE | flags.CLOUD | flags.SHADOW)) == 0
        place = order[row["granule_id"]]
        used += seen, seen & (truth["cloud"][place] | truth["shadow"][place])
    every, missed = used
    parts = {
        "all": clear,
        "nothing missed": clear & (missed == 0),
        "under half missed": clear & (missed > 0) & (2 * missed < every),
        "half or more missed": clear & (missed > 0) & (2 * missed >= every),
    }
    print("## Recovered reflectance of the demo's median: bias and RMSE\n")
    lines = [["band", "true mean", *parts]]
    lines.append(["", "", *(f"{100 * m.sum() / clear.sum():.1f} % of px" for m in parts.values())])
    for place, name in enumerate(sensor("aster_l1t").names):
        error = got[name].astype(float) - truth["reflectance"][place]
        mean = truth["reflectance"][place][clear].astype(float).mean()
        line = [name, f"{mean:.3f}"]
        for mask in parts.values():
            here = error[mask & np.isfinite(error)]
            line.append(f"{here.mean():+.4f} {rmse(here):.4f}" if here.size else "-")
        lines.append(line)
    show(lines)


def recovery() -> None:
    """Surfaces that 6S itself looks at, recovered with our coefficients."""
    from geoquarry.engine import sixs

    facts = sensor("aster_l1t")
    light: dict[str, Any] = {
        "sun_zenith_deg": 55.0,
        "sun_azimuth_deg": 150.0,
        "view_zenith_deg": [8.6] * 9,
        "view_azimuth_deg": [100.0] * 9,
        "aod550": 0.3,
        "elevation_m": 400.0,
        "water_vapour_g_cm2": 2.5,
        "ozone_cm_atm": 0.3,
        "earth_sun_distance_au": 1.0167,
    }
    found = sixs.correction(facts, **light)
    xa, xb, xc = (np.array(c) for c in (found.xa, found.xb, found.xc))
    print("## Error of surfaces seen by 6S, in 1e-5 reflectance\n")
    lines = [["truth", *facts.names]]
    for true in (0.05, 0.2, 0.5):
        y = xa * np.array(sixs.forward(facts, true, **light)) - xb
        lines.append([f"{true:g}", *(f"{e:+.1f}" for e in (y / (1 + xc * y) - true) * 1e5)])
    show(lines)


def profiles() -> None:
    """Gas transmittance with 6S's named profiles, and with the same columns in US 1962's shape."""
    import Py6S

    from geoquarry.engine import sixs

    facts = sensor("aster_l1t")
    some = Sensor(facts.name, tuple(b for b in facts.bands if b.name in ("b04", "b08", "b09")))
    print("## Gas transmittance: our columns / the named profile of 6S, sun at 30, nadir\n")
    lines = [["profile", "elevation, m", "water, g/cm2", *some.names]]
    for number, name in ((1, "tropical"), (2, "midlatitude summer"), (3, "midlatitude winter")):
        for elevation_m in (0.0, 1700.0, 3000.0):
            ratios = []
            for band in some.bands:
                model = Py6S.SixS(path="")
                wavelength_um, response = some.response(band.name)
                model.wavelength = Py6S.Wavelength(
                    wavelength_um[0], wavelength_um[-1], response.tolist()
                )
                model.atmos_profile = Py6S.AtmosProfile.PredefinedType(number)
                model.aero_profile = Py6S.AeroProfile.PredefinedType(1)
                model.aot550 = 0.12
                model.altitudes.set_target_custom_altitude(max(elevation_m, 1.0) / 1000)
                model.altitudes.set_sensor_satellite_level()
                model.geometry.solar_z, model.geometry.view_z = 30.0, 0.0
                named = sixs.execute(model)
                text = r"uh2o=\s*([\d.]+) g/cm2\s+uo3=\s*([\d.]+)"
                water, ozone = map(float, re.search(text, named.fulltext).groups())
                ours = sixs.correction(
                    Sensor(some.name, (band,)),
                    sun_zenith_deg=30.0,
                    sun_azimuth_deg=0.0,
                    view_zenith_deg=[0.0],
                    view_azimuth_deg=[0.0],
                    aod550=0.12,
                    elevation_m=elevation_m,
                    water_vapour_g_cm2=water,
                    ozone_cm_atm=ozone,
                    earth_sun_distance_au=1.0,
                )
                ratios.append(ours.optics[0].gas / named.trans["global_gas"].total)
            numbers = [f"{elevation_m:.0f}", f"{water:.2f}", *(f"{r:.3f}" for r in ratios)]
            lines.append([name, *numbers])
    show(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The figures of docs/accuracy.md.")
    parser.add_argument("--demo", type=Path, help="folder of a finished demo")
    parser.add_argument("--scenes", type=Path, help="folder with scenes.json and its truth")
    parser.add_argument("--sixs", action="store_true", help="6S against itself")
    args = parser.parse_args()
    if args.sixs:
        recovery()
        profiles()
    elif args.demo is None and args.scenes is None:
        closed_loop()
    if args.scenes is not None:
        others(args.scenes)
    if args.demo is not None:
        demo(args.demo)


if __name__ == "__main__":
    main()
