"""A warehouse whose rows can be spoiled behind the back of every check, and a command line."""

import pytest
from rows import GRID, SENSOR, made_up_rows

from geoquarry.engine import appender
from geoquarry.engine.local import open_engine
from geoquarry.jobs.__main__ import main
from geoquarry.schemas.tables import tiles_schema

TILES = [(x, 0) for x in range(3)]
FAULTS = []


@pytest.fixture
def told():
    """Note a fault for the table that is printed at the end of the session."""

    def note(fault, how, outcome, before, after):
        FAULTS.append(f"| {fault} | {how} | {outcome} | {before} | {after} |")

    return note


def pytest_terminal_summary(terminalreporter):
    """With -rP: fault, how it was injected, what came of it, rows before and after."""
    if terminalreporter.hasopt("P") and FAULTS:
        terminalreporter.write_line("\n".join(FAULTS))


@pytest.fixture
def rows():
    """Good rows: three tiles, two granules."""
    return made_up_rows(TILES, granules=2)


@pytest.fixture
def house(tmp_path):
    return tmp_path / "warehouse"


@pytest.fixture
def ask(house, capsys):
    """Run a command; answers its exit code, stdout and stderr."""

    def run(*words):
        code = main([*map(str, words), "--warehouse", str(house)])
        out, said = capsys.readouterr()
        return code, out, said

    return run


@pytest.fixture
def store(house, monkeypatch):
    """Store rows as they are, however bad: another program, or a disk, may do so."""

    def put(rows, table="tiles"):
        engine = open_engine(str(house), workers=1)
        engine.ensure(table, tiles_schema(SENSOR.name, GRID))
        with monkeypatch.context() as patch:
            patch.setattr(appender, "check_row", lambda batch, layout: None)
            engine.append(table, rows)
        return engine

    return put
