"""One scene to one data file: the part of an ingest that runs on a worker, on any engine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from geoquarry.engine import sixs
from geoquarry.engine.datafile import WrittenFile
from geoquarry.engine.granule_file import GranuleFiles
from geoquarry.engine.layout import Layout
from geoquarry.engine.mcd19a2 import days_apart
from geoquarry.engine.plan import RowRef
from geoquarry.engine.readers import reader
from geoquarry.engine.rows import read_batches
from geoquarry.jobs.ancillary import Ancillary, add_ancillary, air_over, still_clamped
from geoquarry.jobs.coefficients import add_coefficients, not_covered
from geoquarry.jobs.cut import rows_of, tiles_of, to_lattice
from geoquarry.schemas.errors import GeoquarryError, InputError
from geoquarry.schemas.granule import Granule
from geoquarry.schemas.grid import Grid


@dataclass(frozen=True)
class OldRows:
    """Rows that are in the table, for masks anew: where they lie, by granule.

    Attributes
    ----------
    layout : Layout
    refs : mapping of granule id -> rows
    """

    layout: Layout
    refs: Mapping[str, Sequence[RowRef]]

    def of(self, granule_id: str) -> list[dict[str, Any]]:
        """The rows of one granule, pixels included."""
        names = self.layout.schema.names
        refs = self.refs.get(granule_id, ())
        batches = read_batches(self.layout, refs, names)
        schema = self.layout.schema
        rows: list[dict[str, Any]] = pa.Table.from_batches(
            [batch.cast(schema) for batch in batches], schema
        ).to_pylist()
        return rows


@dataclass(frozen=True)
class SceneRows:
    """What one scene is in the table: who it is, its rows, and what there is to say about it.

    Attributes
    ----------
    scene : Path
    granule_id, observation_id : str
        Empty when the scene could not be read.
    rows : list of dict
    notes : list of str
        For people.
    newer : str
        A newer production that is in the table; the scene was not cut then.
    aerosol_days : int
        How far its aerosol was measured from it.
    failed, error_class : str
        Why it cannot be used.
    """

    scene: Path
    granule_id: str = ""
    observation_id: str = ""
    rows: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    newer: str = ""
    aerosol_days: int = 0
    failed: str = ""
    error_class: str = ""


@dataclass(frozen=True)
class SceneDone:
    """The same once its rows are written: small, it travels to the driver.

    Attributes
    ----------
    found : SceneRows
        Without its rows.
    file : WrittenFile or None
        Not yet committed.
    rows, without_reference : int
    tiles : sequence of (tile_x, tile_y)
        Of the rows.
    """

    found: SceneRows
    file: WrittenFile | None = None
    rows: int = 0
    without_reference: int = 0
    tiles: Sequence[tuple[int, int]] = ()


def unheard(scene: Path) -> None:
    """Where nobody can hear that a scene begins."""


@dataclass(frozen=True)
class SceneWork:
    """Everything a worker needs besides the path of a scene; can be pickled.

    Attributes
    ----------
    sensor : str
    reader_options : mapping
    grid : Grid
    tiles : sequence of (tile_x, tile_y) or None
        Only these.
    ancillary : Ancillary or None
        Where the state of the air comes from; None with ``old``.
    aerosol_model : str
    sixs_cache : str or None
        Run 6S now, with this cache; a worker of another host has its own or none.
    ingest_id : str
    known : sequence of str
        Granules of the table as it was, sorted: a scene of which it has a newer production is not
        cut. The driver looks again before it commits.
    old : OldRows or None
        Only renew the masks of these.
    files : GranuleFiles or None
        Where to write; None until there is a table.
    began : callable
        Told of each scene that begins, in the driver's own process only.
    """

    sensor: str
    reader_options: Mapping[str, Any]
    grid: Grid
    tiles: Sequence[tuple[int, int]] | None
    ancillary: Ancillary | None
    aerosol_model: str
    sixs_cache: str | None
    ingest_id: str
    known: Sequence[str] = ()
    old: OldRows | None = None
    files: GranuleFiles | None = None
    began: Callable[[Path], None] = field(default=unheard, compare=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without what lives in the driver's process."""
        return {**self.__dict__, "began": unheard}

    def __call__(self, scene: Path) -> SceneDone:
        """Read, mask, cut, add the air, and write one scene's data file."""
        return self.write(self.cut(scene))

    def cut(self, scene: Path) -> SceneRows:
        """The rows of one scene.

        A scene that cannot be used says why; only errors that would meet every other scene as well
        (a wrong option, a program that is missing) go on up.
        """
        self.began(scene)
        try:
            granule = reader(self.sensor).read(scene, **self.reader_options)
            found = SceneRows(scene, granule.granule_id, granule.observation_id)
            newer = versions(granule.granule_id, granule.observation_id, self.known)[1]
            if newer:
                return replace(found, newer=newer[-1])
            if self.old is not None:
                rows = self._with_new_flags(granule, self.old.of(granule.granule_id))
                return replace(found, rows=rows)
            rows = self._new_rows(granule)
            days = max((days_apart(row["atmosphere_source"]) for row in rows), default=0)
            return replace(found, rows=rows, notes=self._coefficients(rows), aerosol_days=days)
        except InputError as error:
            return SceneRows(scene, failed=str(error), error_class=type(error).__name__)
        except GeoquarryError:
            raise
        except OSError as error:  # no permission, a share that went away
            name = error.filename or scene
            why = f"{name}: cannot be read ({error.strerror or error})."
            return SceneRows(scene, failed=why, error_class=type(error).__name__)
        except Exception as error:  # one odd file does not end the ingest of ten thousand
            name = type(error).__name__
            return SceneRows(scene, failed=f"{name}: {error}", error_class=name)

    def write(self, found: SceneRows) -> SceneDone:
        """Write what `cut` found, without what a table older than a column lacks.

        Errors of writing go up: they would meet every other scene as well.
        """
        empty = replace(found, rows=())
        if not found.rows:
            return SceneDone(empty)
        assert self.files is not None
        columns = set(self.files.layout.schema.names)
        rows = [{name: row[name] for name in row if name in columns} for row in found.rows]
        file = self.files.write(found.granule_id, rows, self.tiles)
        missing = sum(row.get("ref_1") is None for row in rows)
        tiles = [(row["tile_x"], row["tile_y"]) for row in rows]
        return SceneDone(empty, file, len(rows), missing, tiles)

    def _new_rows(self, granule: Granule) -> list[dict[str, Any]]:
        """Rows with the state of the air, without coefficients."""
        assert self.ancillary is not None
        lattice = to_lattice(granule)
        rows = list(rows_of(granule, lattice, self.grid, self._only))
        if not rows:
            return []
        field = air_over(granule, tiles_of(lattice, self.grid), self.grid, self.ancillary)
        for row in rows:
            add_ancillary(
                row, granule, self.grid, self.ancillary, field, aerosol_model=self.aerosol_model
            )
            row["ingest_id"] = self.ingest_id
        return rows

    def _coefficients(self, rows: list[dict[str, Any]]) -> list[str]:
        """Coefficients into rows when 6S runs now; else what the lookup table does not cover."""
        if self.sixs_cache is None:
            return not_covered(rows)
        add_coefficients(rows, sixs.Cache(self.sixs_cache))
        return []

    def _with_new_flags(
        self, granule: Granule, old: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """The rows that are there, with masks (and the pixels they admit) cut anew."""
        kept = {(row["tile_x"], row["tile_y"]): row for row in old}
        if not kept:
            return []
        lattice = to_lattice(granule)
        fresh = {
            (row["tile_x"], row["tile_y"]): row
            for row in rows_of(granule, lattice, self.grid, self._only)
        }
        for tile, row in fresh.items():
            if tile in kept:
                row["flags"] = still_clamped(row, kept[tile], self.grid)
        return [{**row, **fresh.get(tile, {})} for tile, row in kept.items()]

    @property
    def _only(self) -> set[tuple[int, int]] | None:
        return set(self.tiles) if self.tiles else None


def versions(
    granule_id: str, observation_id: str, known: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Other productions of one acquisition among known granules: older ones, newer ones.

    Examples
    --------
    >>> versions("A_2001", "A", ["A_2000", "A_2001", "A_2002", "B_2003"])
    (['A_2000'], ['A_2002'])
    """
    others = [name for name in known if name.startswith(observation_id) and name != granule_id]
    newer = [name for name in others if name > granule_id]
    return sorted(set(others) - set(newer)), sorted(set(newer))
