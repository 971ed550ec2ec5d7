"""The first phase of a job and what is solved from it: gains per granule, one balance field."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from geoquarry.engine.local import Engine
from geoquarry.engine.run import Run, RunReport
from geoquarry.schemas.errors import UsageError
from geoquarry.schemas.grid import grid
from geoquarry.schemas.harmony_tables import (
    FIELD_SUFFIX,
    GAINS_SUFFIX,
    METHOD,
    SUMS_SUFFIX,
    field_schema,
    gains_schema,
    sums_schema,
)
from geoquarry.schemas.job import Job, Lookup
from geoquarry.schemas.sensor import sensor
from geoquarry.schemas.tables import facts, same_facts
from geoquarry.udfs import methods
from geoquarry.udfs.agreement import GRANULE_COLUMNS, TILE_COLUMNS, Gains, centres_um
from geoquarry.udfs.balance_field import solve_field
from geoquarry.udfs.balance_sums import TileNodes
from geoquarry.udfs.first_phase import unpacked_nodes, unpacked_pairs, wants_nodes, wants_pairs
from geoquarry.udfs.harmonise import solve
from geoquarry.udfs.overlap import merge
from geoquarry.udfs.overviews import tile_cells

LAST_PHASE = "tiles"
"""What the last phase of a job works on, in the words of the progress bar."""
UDF = "geoquarry.udfs.first_phase:compute"
Watch = Callable[[Run, str], RunReport]


@dataclass(frozen=True)
class Companions:
    """Names of the small tables beside a table of results, each by the kind of its facts."""

    sums: str
    gains: str
    field: str


def companions(target: str) -> Companions:
    """Tables that a job keeps beside its target.

    >>> companions("maps").gains
    'maps_gains'
    """
    return Companions(target + SUMS_SUFFIX, target + GAINS_SUFFIX, target + FIELD_SUFFIX)


def first_job(job: Job) -> Job | None:
    """The job that sums up what the tiles say, or None if this job needs no first phase."""
    params = methods.first_phase(job.method, job.params)
    if params is None:
        return None
    about = facts(job.schema)
    return replace(
        job,
        target=companions(job.target).sums,
        method=METHOD,
        params=params,
        udf=UDF,
        columns=methods.columns(job.method, {**job.params, "mosaic": ""}, about["sensor"]),
        schema=sums_schema(about["sensor"], about["grid"]),
    )


def prepared(engine: Engine, job: Job, watch: Watch) -> Job:
    """Run the first phase of a job, solve it, and say where the second finds the answers.

    Sums of tiles that have not changed are not taken again. Gains and the field are solved from
    the sums of all tiles of the target, also those that this job does not touch, and stored; what
    has not changed leaves the tables as they are. A job without a first phase is returned as it is.

    Parameters
    ----------
    engine : Engine
    job : Job
    watch : callable (run, what) -> RunReport
        Waits for a run.

    Raises
    ------
    UsageError
        A table of one of the names is something else.
    """
    first = first_job(job)
    if first is None:
        return job
    _only_ours(engine, job)
    watch(engine.run(first), "tiles, first phase")
    kind = sensor(facts(job.schema)["sensor"])
    gains: Gains = {}
    if wants_pairs(job.params):
        gains = _solve_gains(engine, job, len(kind.bands), centres_um(kind))
    if wants_nodes(job.params):
        _solve_field(engine, job, len(kind.bands), gains)
    return standing(engine, job)


def standing(engine: Engine, job: Job) -> Job:
    """The second phase with the gains and the field that are stored now, if there are any."""
    if first_job(job) is None:
        return job
    names = companions(job.target)
    wanted: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []
    if wants_pairs(job.params):
        wanted.append((names.gains, ("granule_id",), GRANULE_COLUMNS))
    if wants_nodes(job.params):
        wanted.append((names.field, ("tile_x", "tile_y"), TILE_COLUMNS))
    lookups = []
    for table, on, columns in wanted:
        snapshot = engine.describe(table)["snapshot_id"] if engine.exists(table) else None
        if snapshot is not None:
            lookups.append(Lookup(table, on, columns, snapshot))
    return replace(job, lookups=tuple(lookups))


def quietly(run: Run, what: str) -> RunReport:
    """Wait for a run without a word."""
    return run.wait()


def run_phases(engine: Engine, job: Job, watch: Watch = quietly) -> RunReport:
    """Run a job from its first phase to its last, and report the last.

    ``run_phases(engine, job_of(engine, trigger))`` is what `geoquarry run` does.
    """
    return watch(engine.run(prepared(engine, job, watch)), LAST_PHASE)


def _only_ours(engine: Engine, job: Job) -> None:
    """Refuse to write over tables that are something else."""
    about = facts(job.schema)
    names = companions(job.target)
    wanted = {
        names.sums: sums_schema(about["sensor"], about["grid"]),
        names.gains: gains_schema(about["sensor"], about["grid"]),
        names.field: field_schema(about["sensor"], about["grid"]),
    }
    for name, schema in wanted.items():
        if engine.exists(name) and not same_facts(facts(engine.schema(name)), facts(schema)):
            raise UsageError(
                f"The job keeps sums, gains and balance of {job.target!r} in tables of these "
                f"names, but {name!r} is another table. Choose another target, or "
                "scope => 'tile' (--scope tile)."
            )


def _rows(engine: Engine, table: str, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    wanted = ["tile_x", "tile_y", "status", "granules", *columns]
    for batch in engine.read(table, wanted):
        for row in batch.to_pylist():
            if row["status"] in ("ok", "partial"):
                yield row


def _solve_gains(engine: Engine, job: Job, bands: int, wavelengths_um: Sequence[float]) -> Gains:
    names, about = companions(job.target), facts(job.schema)
    rows = _rows(engine, names.sums, ("pairs", "pair_sums"))
    parts = [unpacked_pairs(row, bands) for row in rows]
    if not parts:  # no row at all, or none that can be used: the second phase says so
        return {}
    harmony = solve(merge(parts), wavelengths_um)
    table = [
        {
            "grid": about["grid"],
            "granule_id": name,
            "harmony_gain": harmony.gain[i].tolist(),
            "harmony_offset": harmony.offset[i].tolist(),
            "component": int(harmony.component[i]),
            "pixels": int(harmony.pixels[i]),
        }
        for i, name in enumerate(harmony.granule_ids)
    ]
    _store(engine, names.gains, gains_schema(about["sensor"], about["grid"]), table)
    return {name: harmony.of(name) for name in harmony.granule_ids}


def _solve_field(engine: Engine, job: Job, bands: int, gains: Gains) -> None:
    names, about = companions(job.target), facts(job.schema)

    def tiles() -> Iterator[tuple[tuple[int, int], TileNodes]]:
        for row in _rows(engine, names.sums, ("node_area", "node_sums", "node_skipped")):
            nodes = unpacked_nodes(row, bands)
            if nodes is not None:
                yield (row["tile_x"], row["tile_y"]), nodes

    cells = tile_cells(grid(about["grid"]))
    found = solve_field(tiles(), job.params["balance"], about["sensor"], cells, gains)
    table = [
        {
            "grid": about["grid"],
            "tile_x": x,
            "tile_y": y,
            "balance_nodes": None if w.values is None else w.values.ravel().tolist(),
            "balance_skipped": w.skipped,
        }
        for (x, y), w in sorted(found.windows.items())
    ]
    _store(engine, names.field, field_schema(about["sensor"], about["grid"]), table)


def _store(engine: Engine, name: str, schema: pa.Schema, rows: list[dict[str, Any]]) -> None:
    """Make a small table hold these rows; one that holds them already keeps its snapshot."""
    engine.ensure(name, schema)
    if not rows:
        return
    held = engine.read(name).read_all().to_pylist()
    key = [field.name for field in schema if not field.nullable]

    def by_key(some: list[dict[str, Any]]) -> dict[tuple[Any, ...], Mapping[str, Any]]:
        return {tuple(row[k] for k in key): row for row in some}

    old, new = by_key(held), by_key(rows)
    changed = [row for k, row in new.items() if old.get(k) != row]
    if changed:
        engine.append(name, [*(row for k, row in old.items() if k not in new), *rows], kind="solve")
