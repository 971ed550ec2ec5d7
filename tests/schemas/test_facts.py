"""Facts are data: every number says where it comes from, and the numbers agree with each other."""

import csv

import numpy as np
import pytest

from geoquarry.schemas.csvfile import read_rows
from geoquarry.schemas.errors import FormulaError, UnknownName
from geoquarry.schemas.flags import NAMES, bit
from geoquarry.schemas.formula import parse
from geoquarry.schemas.index import indices
from geoquarry.schemas.sensor import sensor, sensors

ASTER = sensor("aster_l1t")


@pytest.mark.parametrize(
    ("table", "column"),
    [
        ("aster_l1t_bands", "source"),
        ("aster_l1t_gains", "source"),
        ("aster_l1t_response", "source"),
        ("indices", "reference"),
        ("spectra", "source"),
    ],
)
def test_every_number_says_where_it_comes_from(table, column):
    rows = read_rows(table)
    assert rows
    assert all(len(row[column]) > 5 for row in rows)


def test_bands_answer_to_their_names_elsewhere():
    for alias in ("VNIR_Swath:ImageData3N", "VNIR_Band3N", "B3N", "3N", "b3n"):
        assert ASTER.position(alias) == 2
    with pytest.raises(UnknownName, match="b3n"):
        ASTER.position("b10")


def test_responses_peak_inside_the_nominal_bands():
    for band in ASTER.bands:
        wavelength_um, response = ASTER.response(band.name)
        low, high = band.wavelength_um
        centre = (wavelength_um * response).sum() / response.sum()
        assert low < centre < high
        assert np.allclose(np.diff(wavelength_um), 0.0025)


def test_gains_follow_from_the_maximum_radiance():
    """UCC = Lmax / 253 within 0.5 %: DN 254 is the brightest unsaturated count, DN 1 zero."""
    for row in read_rows("aster_l1t_gains"):
        ucc = float(row["ucc_w_m2_sr_um_per_dn"])
        assert ucc == pytest.approx(float(row["lmax_w_m2_sr_um"]) / 253, rel=6e-3)


def test_the_constants_agree_with_the_published_table(shared):
    rows = csv.DictReader((shared / "data/aster_reference/aster_calibration_constants.csv").open())
    published = {row["band"]: row for row in rows}
    for row in read_rows("aster_l1t_gains"):
        number = ASTER.bands[ASTER.position(row["band"])].number
        assert float(row["ucc_w_m2_sr_um_per_dn"]) == float(published[number][f"UCC_{row['gain']}"])


def test_the_catalogue_is_the_published_list_mended(shared):
    """21 published formulas equal ours after `\\` -> product, `^2` -> square and the missing
    parentheses of dolomite (reference bug 33), plus NDVI and NDWI."""
    path = shared / "data/aster_reference/Mineral_Indices.csv"
    published = [row["Equation"] for row in csv.DictReader(path.open())]
    names = {
        f"b{n}": band.name for n, band in zip((1, 2, 3, 4, 5, 6, 7, 8, 9), ASTER.bands, strict=True)
    }
    ours = indices("aster_l1t")
    assert [i.name for i in ours[21:]] == ["ndwi", "ndvi"]
    for text, index in zip(published, ours[:21], strict=True):
        for n in "68":
            text = text.replace(f"b{n}^2", f"b{n} * b{n}")
        text = text.replace("\\", "*").replace("(b6 + b8 / b7)", "((b6 + b8) / b7)")
        mended = parse(text, names)

        def rename(program):
            if isinstance(program, tuple):
                return program[0], rename(program[1]), rename(program[2])
            return names.get(program, program)

        assert rename(mended) == index.program, index.name


def test_the_catalogue_is_consistent():
    for row, index in zip(read_rows("indices"), indices("aster_l1t"), strict=True):
        assert tuple(row["bands"].split()) == index.bands
        assert all(bit(name) for name in index.mask)
        assert index.valid_min < index.valid_max <= 32767 * index.scale
        assert index.denominators


REFUSED = [
    *("b01.dtype", "__import__('os')", "b01[0]", "b01 < 1", "b99 / b01", "b01 ** b02", "-b01"),
    *("1e999", "b01 if b02 else b01", "lambda: 0", "True", "", "\x00"),
    *("b01 / (" * 40 + "b01" + ")" * 40, "b01 +" * 300),
]


@pytest.mark.parametrize("formula", REFUSED)
def test_formulas_are_read_never_evaluated(formula):
    with pytest.raises(FormulaError):
        parse(formula, ASTER.names)


def test_flag_bits_are_distinct_and_fit_uint16():
    assert len({*NAMES}) == len(NAMES)
    assert all(0 < value < 2**16 and value.bit_count() == 1 for value in NAMES)
    with pytest.raises(KeyError):
        bit("fog")


def test_unknown_sensor():
    assert "aster_l1t" in sensors()
    with pytest.raises(UnknownName, match="aster_l1t"):
        sensor("landsat")
