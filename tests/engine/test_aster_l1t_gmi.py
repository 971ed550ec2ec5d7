"""The published CSV: the reference's own numbers through our reader, and polite refusals."""

import csv
import json
from datetime import UTC, datetime

import numpy as np
import pytest

from geoquarry.engine.aster_l1t_gmi import read_gmi_csv
from geoquarry.engine.aster_l1t_gmi_columns import COLUMNS, DN_COLUMNS, MODIS_COLUMNS, PARAS
from geoquarry.engine.aster_l1t_gmi_writer import bounding_box, write_gmi
from geoquarry.schemas import blob
from geoquarry.schemas.errors import InputError
from geoquarry.schemas.grid import grid
from geoquarry.schemas.sensor import sensor

NAMES = sensor("aster_l1t").names
ID = "AST_L1T_00306182006174858_20150516014601_17781"
SIZE = 64
GAINED = ("01", "02", "3N", "3B", "04", "05", "06", "07", "08", "09")
META = {
    "CALENDARDATE": "20060618",
    "TIMEOFDAY": "174858250000Z",
    **{f"GAIN.{i}": f"{b}, NOR" for i, b in enumerate(GAINED, 1)},
    "SOLARDIRECTION": "111.978158, 69.190328",
    "POINTINGANGLE.1": "-0.022",
    "POINTINGANGLE.2": "-8.583",
}
PARAS_VALUE = {
    f"{'VNIR' if i < 4 else 'SWIR'}_Swath:ImageData{i}": {"a": i / 100, "b": 0.02, "c": 0.1}
    for i in range(1, 10)
}


def dn_of(seed=0):
    """A tile with data in rows 3..40, columns 5..60; band 9 lacks column 5."""
    dn = np.zeros((9, SIZE, SIZE), np.uint8)
    dn[:, 3:41, 5:61] = np.random.default_rng(seed).integers(1, 256, (9, 38, 56))
    dn[8, :, 5] = 0
    return dn


def record(dn=None, *, meta=META, paras=PARAS_VALUE, modis=True, text=json.dumps, **more):
    """One row as the published scripts write it."""
    dn = dn_of() if dn is None else dn
    box = bounding_box((dn != 0).all(axis=0))
    layers = np.arange(7 * 256 * 256).reshape(7, 256, 256) % 12000 - 200
    cells = {
        "granule_id": ID,
        **dict(zip(("min_row", "min_col", "max_row", "max_col"), box, strict=True)),
        "tile_index_x": 3,
        "tile_index_y": 5,
        "tile_info": f"res-30_tilesize-{SIZE}",
        "meta": meta if isinstance(meta, str) else text(meta),
        PARAS: text(paras),
    }
    crop = dn[:, box[0] : box[2] + 1, box[1] : box[3] + 1]
    cells |= {name: band.tobytes().hex() for name, band in zip(DN_COLUMNS, crop, strict=True)}
    cells |= {
        name: layers[i].astype("<i2").tobytes().hex() if modis else ""
        for i, name in enumerate(MODIS_COLUMNS)
    }
    return {**cells, **more}


def written(path, *records, header=None):
    with open(path, "w", newline="") as file:
        lines = csv.writer(file)
        if header is not None:
            lines.writerow(header)
        lines.writerows(r.values() for r in records)
    return path


SPELLINGS = {
    "none": None,
    "script 1": list(COLUMNS),
    "script 2": [
        *COLUMNS[:19],
        *(f"modis_vnir_swath_imagedata{i}" for i in range(1, 5)),
        *(f"modis_swir_swath_imagedata{i}" for i in range(5, 8)),
    ],
    "sql, upper case, colons": [
        name.upper().replace("SWATH_", "Swath:").replace("ATMOSHPHERIC", "ATMOSPHERIC")
        for name in COLUMNS
    ],
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_all_spellings_give_the_same_row(tmp_path, spelling):
    path = written(tmp_path / "a.csv", record(), header=SPELLINGS[spelling])
    (row,) = read_gmi_csv(path)
    assert (row["grid"], row["tile_x"], row["tile_y"]) == ("res-30_tilesize-64", 3, 5)
    assert row["granule_id"] == ID
    assert row["acquired"] == datetime(2006, 6, 18, 17, 48, 58, 250000, tzinfo=UTC)
    assert (row["row0"], row["col0"]) == (3, 6)  # the box of pixels that all bands have
    dn = np.stack([blob.decode(row[name]) for name in NAMES])
    assert dn.dtype == np.uint8
    np.testing.assert_array_equal(dn, dn_of()[:, 3:41, 6:61])
    assert row["valid_fraction"] == 38 * 55 / SIZE**2
    assert row["gain_code"] == ["NOR"] * 9
    assert row["radiance_scale"][:3] == [1.688, 1.415, 0.862]
    assert row["radiance_offset"] == [-scale for scale in row["radiance_scale"]]
    assert row["xa"] == [i / 100 for i in range(1, 10)]
    assert (row["xb"], row["xc"]) == ([0.02] * 9, [0.1] * 9)
    assert row["sun_zenith_deg"] == pytest.approx(90 - 69.190328)
    assert row["view_zenith_deg"][3] == pytest.approx(9.542, abs=1e-3)
    assert row["flags"] is None
    modis = blob.decode(row["ref_1"])
    assert (modis.shape, modis.dtype) == ((256, 256), np.int16)
    # Values -200..-101 are out of range, 0 is the published "no value".
    np.testing.assert_array_equal(
        modis[0, :204], [-32768] * 100 + [*range(-100, 0), -32768, 1, 2, 3]
    )


def test_an_earlier_version_printed_dicts_and_had_no_modis(tmp_path):
    path = written(tmp_path / "a.csv", record(text=str, modis=False))
    (row,) = read_gmi_csv(path)
    assert row["xa"][0] == 0.01
    assert row["ref_1"] is None


@pytest.mark.parametrize("site", ["north", "south"])
def test_the_reference_chain_from_hex_to_reflectance(golden, tmp_path, site):
    """DN, gains and coefficients of the reference give its radiance and its reflectance."""
    params = json.loads((golden / "manifest.json").read_text())["entries"][f"mini_s96_{site}"]
    params = params["params"]
    with np.load(golden / f"mini_s96_{site}.npz", allow_pickle=False) as arrays:
        dn, modis = arrays["in_dn"], arrays["in_modis"]
        radiance, reflectance = arrays["out_radiance"], arrays["out_reflectance"]
    records = []
    for place, name in enumerate(params["order"]):
        cells = record(dn[place], meta=params["meta"][name], paras=params["ac"][name])
        cells |= {"granule_id": name, "tile_info": "res-30_tilesize-96"}
        cells |= dict(zip(("tile_index_x", "tile_index_y"), params["tile_index"], strict=True))
        hexes = (layer.astype("<i2").tobytes().hex() for layer in modis)
        records.append(cells | dict(zip(MODIS_COLUMNS, hexes, strict=True)))
    rows = list(read_gmi_csv(written(tmp_path / "a.csv", *records)))
    assert [row["granule_id"] for row in rows] == params["order"]
    compared = 0
    for place, row in enumerate(rows):
        got = np.zeros((9, 96, 96))
        window = np.stack([blob.decode(row[n]) for n in NAMES]).astype(float)
        scale, offset, xa, xb, xc = (
            np.array(row[n])[:, None, None]
            for n in ("radiance_scale", "radiance_offset", "xa", "xb", "xc")
        )
        rows_, cols_ = (
            np.s_[row[n] : row[n] + s]
            for n, s in zip(("row0", "col0"), window.shape[1:], strict=True)
        )
        got[:, rows_, cols_] = scale * window + offset
        # The reference's own mask (holes, a 16-pixel rim) leaves zeros: no values to compare.
        known = np.zeros_like(got, bool)
        known[:, rows_, cols_] = radiance[place][:, rows_, cols_] != 0
        np.testing.assert_allclose(got[known], radiance[place][known], rtol=1e-6, atol=1e-7)
        y = xa * got - xb
        got = y / (1 + xc * y)
        np.testing.assert_allclose(got[known], reflectance[place][known], rtol=1e-6, atol=2e-7)
        compared += int(known.sum())
        for i in range(7):
            layer = blob.decode(row[f"ref_{i + 1}"])
            np.testing.assert_array_equal(layer[layer != -32768], modis[i][layer != -32768])
    assert compared > 10_000


def test_the_box_of_the_reference(golden):
    """Golden boxes; all zero differs on purpose, for the published ends are one too large."""
    cases = json.loads((golden / "pack_edge_cases.json").read_text())
    dn = np.ones((9, 8, 8), np.uint8)
    dn[0, :3] = 0
    box = bounding_box((dn != 0).all(axis=0))
    expected = cases["band0_top_missing"]
    assert list(box) == expected["box"]
    assert [9, box[2] - box[0] + 1, box[3] - box[1] + 1] == expected["shape"]
    assert int((dn[1] != 0).sum() - (dn[1][box[0] :] != 0).sum()) == expected["band1_nonzero_lost"]
    assert bounding_box(np.zeros((8, 8), bool)) is None
    assert cases["all_zero"]["box"] == cases["no_common_pixel"]["box"] == [0, 0, 8, 8]


def test_the_published_box_without_a_common_pixel_is_understood(tmp_path):
    dn = np.zeros((9, SIZE, SIZE), np.uint8)
    dn[0] = 7
    whole = {name: band.tobytes().hex() for name, band in zip(DN_COLUMNS, dn, strict=True)}
    broken = record(**whole, min_row=0, min_col=0, max_row=SIZE, max_col=SIZE)
    (row,) = read_gmi_csv(written(tmp_path / "a.csv", broken))
    assert row["valid_fraction"] == 0
    np.testing.assert_array_equal(blob.decode(row["b01"]), dn[0])


def test_our_rows_go_out_and_come_back(tmp_path):
    (row,) = read_gmi_csv(written(tmp_path / "a.csv", record()))
    header, out = write_gmi([row])
    assert header == list(COLUMNS)
    (again,) = read_gmi_csv(written(tmp_path / "b.csv", dict(enumerate(out)), header=header))
    same = set(row) - {"meta"}
    assert {name: again[name] for name in same} == {name: row[name] for name in same}
    with pytest.raises(InputError, match="no coefficients xa, xb, xc"):
        list(write_gmi([row | {"xb": None}]))


def lacking(name):
    return {key: value for key, value in META.items() if key != name}


BAD = {
    "column 'min_row': '3.5' is not a whole number": {"min_row": "3.5"},
    "is no box in a tile of 64 x 64": {"max_row": 64},
    "column 'VNIR_Swath_ImageData1': not hex": {DN_COLUMNS[0]: "0g"},
    "column 'SWIR_Swath_ImageData9': 1 bytes, 38 x 55 pixels of uint8 need 2090": {
        DN_COLUMNS[8]: "00"
    },
    "column 'modis_bands_6': 2 bytes, 256 x 256 pixels of int16 need 131072": {
        MODIS_COLUMNS[6]: "0000"
    },
    "column 'meta': '{broken' is no JSON object": {"meta": "{broken"},
    "column 'meta'.*SOLARDIRECTION is missing": {"meta": json.dumps(lacking("SOLARDIRECTION"))},
    "column 'meta'.*gain 'missing' of band 9 is unknown": {"meta": json.dumps(lacking("GAIN.10"))},
    "column 'meta'.*gain 'OFF'": {"meta": json.dumps({**META, "GAIN.10": "09, OFF"})},
    "acquired 2009-06-18, when the SWIR detector had failed": {
        "meta": json.dumps({**META, "CALENDARDATE": "20090618"})
    },
    f"column '{PARAS}': no number b for SWIR_Swath:ImageData9": {
        PARAS: json.dumps({**PARAS_VALUE, "SWIR_Swath:ImageData9": {"a": 1}})
    },
    "the aerosol was unknown": {
        PARAS: json.dumps({**PARAS_VALUE, "SWIR_Swath:ImageData4": dict.fromkeys("abc", np.nan)})
    },
    "aod 0.12 is an optical depth": {PARAS: json.dumps({**PARAS_VALUE, "aod": 0.12})},
    "is not the table's grid 'res-30_tilesize-64'": {"tile_info": "res-30_tilesize-1024"},
    "column 'tile_info': No grid": {"tile_info": "tile"},
    "is outside the grid": {"tile_index_x": 1_000_000},
    "column 'granule_id': empty": {"granule_id": ""},
}


@pytest.mark.parametrize("said", BAD)
def test_a_bad_row_is_named_and_the_others_go_on(tmp_path, said):
    path = written(
        tmp_path / "a.csv",
        *(record(modis=False, **more) for more in ({}, BAD[said], {"granule_id": "B"})),
    )
    frame, errors = grid("res-30_tilesize-64"), []
    rows = list(read_gmi_csv(path, frame, on_error=errors.append))
    assert [row["granule_id"] for row in rows] == [ID, "B"]
    (error,) = errors
    assert f"'{path}', line 2" in str(error)
    with pytest.raises(InputError, match=said):
        list(read_gmi_csv(path, frame))


def test_late_rows_on_request(tmp_path):
    path = written(tmp_path / "a.csv", record(meta={**META, "CALENDARDATE": "20090618"}))
    assert len(list(read_gmi_csv(path, allow_late_swir=True))) == 1


def test_aerosol_in_integer_units_when_a_row_says_it(tmp_path):
    extra = record(aod="181.70", dem="1778")
    (row,) = read_gmi_csv(written(tmp_path / "a.csv", extra, header=[*COLUMNS, "aod", "dem"]))
    assert (row["aod550"], row["elevation_m"]) == (0.1817, 1778)


def test_another_layout_is_refused(tmp_path):
    names = [*COLUMNS[:10], *COLUMNS[11:], "colour"]
    path = written(tmp_path / "a.csv", header=names)
    with pytest.raises(InputError, match=r"missing VNIR_Swath_ImageData1; unknown or twice colour"):
        list(read_gmi_csv(path))


def test_the_default_grid_goes_by_its_own_name(tmp_path):
    dn = np.zeros((9, 1024, 1024), np.uint8)
    dn[:, 1000, 1000] = 9
    path = written(tmp_path / "a.csv", record(dn, tile_info="res-30_tilesize-1024", modis=False))
    (row,) = read_gmi_csv(path)
    assert row["grid"] == "webmercator-30m-1024"
    assert (row["row0"], row["col0"], blob.header(row["b01"]).width) == (1000, 1000, 1)
