"""docs/tables.md says of every column what the schemas say."""

from pathlib import Path

import pytest

from geoquarry.schemas import blob, flags
from geoquarry.schemas.tables import STATUS, output_bands, results_schema, tiles_schema
from geoquarry.udfs import methods

SENSOR, GRID = "aster_l1t", "webmercator-30m-1024"
PAGE = Path(__file__).parents[1] / "docs" / "tables.md"


def results_of(method):
    name, params = methods.normalise(method, {}, SENSOR)
    bands = methods.output_bands(name, params, SENSOR)
    return results_schema(SENSOR, GRID, name, bands)


def column_lines(schema, skip=()):
    """One table row per column, as the page must have them."""
    for field in schema:
        if field.name not in skip:
            about = field.metadata[b"about"].decode()
            kind = str(field.type).replace("|", "")
            key = " (key)" if not field.nullable else ""
            yield f"| `{field.name}`{key} | {kind} | {about} |"


def band_lines(method):
    """One table row per output band of a method."""
    for band in output_bands(results_of(method)):
        yield f"| `{band.name}` | {band.description} | {band.dtype} | {band.scale:g} |"


def flag_lines():
    """One table row per flag: place and name."""
    for value, name in flags.NAMES.items():
        yield f"| {value.bit_length() - 1} | `{name}` |"


def expected():
    """All lines that are facts of the schemas, in the order of the page."""
    yield from column_lines(tiles_schema(SENSOR, GRID))
    mosaic = results_of("mosaic")
    names = [band.name for band in output_bands(mosaic)]
    yield from column_lines(mosaic, skip=names)
    yield from band_lines("mosaic")
    yield from band_lines("mineral_indices")


def test_every_column_is_listed_with_what_it_holds():
    listed = PAGE.read_text(encoding="utf-8").splitlines()
    facts = [line for line in listed if line.startswith("| `")]
    assert facts == list(expected())


def test_every_flag_has_its_bit():
    listed = PAGE.read_text(encoding="utf-8").splitlines()
    start = [f"| {line.split(' | ')[0][2:]} | {line.split(' | ')[1]} |" for line in listed
             if line.startswith("| ") and line[2].isdigit() and "`" in line]  # fmt: skip
    assert start == list(flag_lines())


@pytest.mark.parametrize("word", [*STATUS, *blob.DTYPES, *blob.CODECS, *blob.FILTERS, "GQT1"])
def test_status_and_blob_codes_are_named(word):
    assert f"`{word}`" in PAGE.read_text(encoding="utf-8")


def test_blob_codes_stand_at_their_place():
    text = PAGE.read_text(encoding="utf-8")
    for codes in (blob.DTYPES, blob.CODECS, blob.FILTERS):
        assert ", ".join(f"{place} `{name}`" for place, name in enumerate(codes)) in text


if __name__ == "__main__":  # the lines to paste after a change of the schemas
    print("\n".join(expected()))
