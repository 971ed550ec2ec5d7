"""One story, every engine: the jobs of tests/test_engines_agree.py through a MaxCompute project.

With GEOQUARRY_ODPS_PYTHON naming an interpreter that has the service's NumPy (1.26), its functions
run there, and the yardstick with this process's NumPy.
"""

import pytest
from rows import GRID, SENSOR
from test_engines_agree import IDS, JOBS, ROWS, digest_of_job, filled

from geoquarry.schemas.tables import tiles_schema

pytestmark = [pytest.mark.maxcompute]
FEW = [
    ("mosaic", {"mosaic": "median"}),
    ("color_balancing", {"balance": "tasseled_cap"}),
    ("mineral_indices", {}),
]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The yardstick: the digest of a job, computed when it is first asked for."""
    engine = filled(tmp_path_factory.mktemp("local"), ROWS, workers=2)
    known = {}

    def digest(method, params):
        job = method, repr(params)
        if job not in known:
            known[job] = digest_of_job(engine, method, params, f"out_{len(known)}")
        return known[job]

    return digest


@pytest.fixture(scope="module")
def project(running_server, tmp_path_factory):
    """Opens the engine on a project that holds the rows, sent up once for all tests here."""
    from geoquarry.engine.maxcompute import open_engine

    running_server.reset()
    folder = tmp_path_factory.mktemp("maxcompute")

    def opened(**options):
        return open_engine(
            str(folder),
            project=running_server.project,
            endpoint=running_server.endpoint,
            tunnel_endpoint=running_server.tunnel_endpoint,
            access_id=running_server.access_id,
            secret_access_key=running_server.secret,
            **options,
        )

    engine = opened()
    engine.create("tiles", tiles_schema(SENSOR.name, GRID))
    engine.append("tiles", ROWS)
    yield opened
    running_server.reset()


@pytest.mark.parametrize(("method", "params"), JOBS, ids=IDS)
def test_maxcompute_gives_the_same_answer(local, project, method, params):
    target = f"out_{JOBS.index((method, params))}"
    assert digest_of_job(project(), method, params, target) == local(method, params)


@pytest.mark.parametrize(("method", "params"), FEW, ids=[method for method, _ in FEW])
@pytest.mark.parametrize("plan", ["udtf", "udaf"])
def test_the_other_plans_give_the_same_answer(local, project, plan, method, params):
    found = digest_of_job(project(plan=plan), method, params, f"{method}_{plan}")
    assert found == local(method, params)


def test_a_struct_that_is_computed_once_gives_the_same_answer(
    local, project, running_server, monkeypatch
):
    """Elsewhere the server computes it once per column, as the service's optimizer may."""
    monkeypatch.setattr(running_server, "evaluate", "once")
    method, params = FEW[0]
    assert digest_of_job(project(), method, params, "once") == local(method, params)
