"""What runs inside a Python UDF of MaxCompute: values in, tiles through their UDF, values out.

This module travels in the archive (`engine.maxcompute_archive`); the UDF itself is a thin wrapper
(`engine.maxcompute_udf`). It needs the standard library and what the tile's UDF needs.
"""

import json
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from geoquarry.engine.maxcompute_worker_values import Spec, fitted, plain, taken
from geoquarry.schemas.answer import Call, Target, Tile, find_udf
from geoquarry.schemas.digest import row_digest
from geoquarry.schemas.errors import TableError

__all__ = ["Scalar", "Streaming", "Task", "Worker", "plain"]
ADDED = ("row_digest", "row_bytes", "zone")
"""Columns of a stored row besides those of its schema."""


class Worker:
    """One job's tiles on one worker.

    Parameters
    ----------
    about : str
        JSON with ``udf``, ``columns`` and ``answer`` (lists of [name, spec]), ``rasters``.

    Raises
    ------
    UsageError
        There is no such UDF in the archive: no tile could be computed.
    """

    def __init__(self, about: str) -> None:
        told = json.loads(about)
        self.udf = find_udf(told["udf"])
        module = told["udf"].partition(":")[0]
        self._stream_name = f"{module}:Stream"
        self.columns: list[tuple[str, Spec]] = [(name, spec) for name, spec in told["columns"]]
        self.answer: list[tuple[str, Spec]] = [(name, spec) for name, spec in told["answer"]]
        names = tuple(name for name, _ in self.answer if name not in ADDED)
        self.target = Target(names, told["rasters"])
        self._struct = namedtuple(  # type: ignore[misc]
            "Answer", [f"c_{name}" for name, _ in self.answer], rename=True
        )
        self._known: OrderedDict[str, Any] = OrderedDict()

    def collected(self, tile: str | None, rows: Sequence[Any] | None) -> Any:
        """The answer to all rows of a tile at once, as a struct; in any order, and more than once.

        Parameters
        ----------
        tile : str
            JSON of the task, see `engine.maxcompute_tasks`.
        rows : sequence of struct
            Fields by position: given columns (JSON or None), granule, then `columns`.
        """
        if tile is None:
            raise TableError(CHANGED)
        if tile not in self._known:
            task = Task(tile)
            ordered = sorted(rows or (), key=lambda row: row[1])

            def ask(job: Any) -> Any:
                task.check(len(ordered))
                return self.udf((self.row(task, row) for row in ordered), job)

            with Tile(task.call, self.target) as place:
                self._known[tile] = self.packed(task, place, ask)
            while len(self._known) > task.kept:
                self._known.popitem(last=False)
        return self._known[tile]

    def row(self, task: "Task", values: Sequence[Any]) -> dict[str, Any]:
        """One source row as every engine hands it to a UDF."""
        own = {
            name: taken(value, spec)
            for (name, spec), value in zip(self.columns, values[2:], strict=True)
        }
        return {**own, **task.given, **json.loads(values[0] or "{}")}

    def packed(self, task: "Task", place: Tile, ask: Callable[[Any], Mapping[str, Any]]) -> Any:
        """The struct of a tile's answer, or of its failure."""

        def fits(row: dict[str, Any]) -> None:
            self._struct(*self._values(row, task))

        row = place.row(ask, accept=fits)
        return self._struct(*self._values(row, task))

    def _values(self, row: Mapping[str, Any], task: "Task") -> Iterator[Any]:
        own = {name: fitted(row.get(name), spec, name) for name, spec in self.answer}
        # What a reader of the stored row will see: its digest must be of that.
        seen = {name: taken(own[name], spec) for name, spec in self.answer}
        held = {name: value for name, value in seen.items() if value is not None}
        own |= {
            "row_digest": row_digest(held),
            "row_bytes": sum(len(value) for value in held.values() if isinstance(value, bytes)),
            "zone": task.zone,
        }
        for name, _ in self.answer:
            value = own[name]
            size = len(value) if isinstance(value, bytes | str) else 0
            if size > task.cell_bytes:
                raise TableError(
                    f"Column {name!r} is {size} bytes, over the limit of {task.cell_bytes} per "
                    "cell. Use dtype int16 or a grid of smaller tiles, or let the project's owner "
                    "raise odps.sql.cfile2.field.maxsize."
                )
            yield value


class Task:
    """What a worker is told about one tile.

    Parameters
    ----------
    text : str
        JSON with ``call`` (fields of `schemas.answer.Call`), ``given``, ``rows`` (how many),
        ``zone``, and what is in `engine.maxcompute_tasks.Limits`.
    """

    def __init__(self, text: str) -> None:
        told = json.loads(text)
        call = told["call"]
        self.call = Call(**{**call, "granules": tuple(call["granules"])})
        self.given: dict[str, Any] = told["given"] or {}
        self.rows: int = told["rows"]
        self.zone: str | None = told["zone"]
        self.cell_bytes: int = told["cell_bytes"]
        self.kept: int = told["kept"]

    def check(self, rows: int) -> None:
        """Refuse a tile of which rows are missing.

        Raises
        ------
        TableError
            The source has changed since the job was planned.
        """
        if rows != self.rows:
            raise TableError(f"{rows} of the {self.rows} rows of this tile came. {CHANGED}")


CHANGED = "The source has changed since the job was planned: run it again."


class Scalar:
    """A function of one row's values, for plain SQL.

    Parameters
    ----------
    about : str
        JSON with ``udf`` and ``gives`` (a spec).
    """

    def __init__(self, about: str) -> None:
        told = json.loads(about)
        self._call, self._gives = find_udf(told["udf"]), told["gives"]

    def __call__(self, *values: Any) -> Any:
        """The answer as MaxCompute takes it; NULL for NULL."""
        if values[0] is None:
            return None
        return fitted(self._call(*values), self._gives, "answer")


class Streaming:
    """Rows of one tile after the other, sorted by tile: each is let go before the next one comes.

    Parameters
    ----------
    worker : Worker
    forward : callable
        Is given the values of each finished tile.
    """

    def __init__(self, worker: Worker, forward: Callable[..., Any]) -> None:
        self._worker, self._forward = worker, forward
        self._open = find_udf(worker._stream_name)
        self._key: tuple[int, int] | None = None
        self._pushed: _Pushed | None = None

    def process(self, tile_x: int, tile_y: int, tile: str | None, values: Sequence[Any]) -> None:
        """Take one row; the first of a tile brings the task."""
        if (tile_x, tile_y) != self._key:
            self.close()
            if tile is None:
                raise TableError(CHANGED)
            self._key = tile_x, tile_y
            self._pushed = _Pushed(self._worker, self._open, Task(tile))
        assert self._pushed is not None
        self._pushed.push(values)

    def close(self) -> None:
        """Answer the tile that is open, if there is one."""
        if self._pushed is not None:
            pushed, self._pushed, self._key = self._pushed, None, None
            self._forward(*pushed.finish())


class _Pushed:
    """One tile that is fed row by row."""

    def __init__(self, worker: Worker, stream: Callable[[Any], Any], task: Task) -> None:
        self._worker, self._task, self._count = worker, task, 0
        self._place = Tile(task.call, worker.target)
        self._stream: Any = None
        self._error: Exception | None = None
        self._guarded(lambda: setattr(self, "_stream", stream(self._place.job)))

    def _guarded(self, step: Callable[[], Any]) -> None:
        """A step that may fail; what is wrong is said when the tile is finished."""
        if self._error is None:
            try:
                step()
            except Exception as error:
                self._error = error

    def push(self, values: Sequence[Any]) -> None:
        self._count += 1
        self._guarded(lambda: self._stream.update(self._worker.row(self._task, values)))

    def finish(self) -> Any:
        def ask(_: Any) -> Mapping[str, Any]:
            if self._error is not None:
                raise self._error
            self._task.check(self._count)
            found: Mapping[str, Any] = self._stream.result()
            return found

        try:
            with self._place:
                return self._worker.packed(self._task, self._place, ask)
        finally:
            if self._stream is not None:
                self._stream.close()
