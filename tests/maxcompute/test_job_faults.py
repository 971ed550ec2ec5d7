"""What happens to a job when the service, the line or a function fails."""

import pytest
from toys import TILES, job, row, statements, values

from geoquarry.engine.maxcompute_errors import InstanceFailed
from geoquarry.schemas.errors import GeoquarryError, TableError, UdfError

pytestmark = [pytest.mark.maxcompute]
COMPUTE = "INSERT INTO TABLE `maps__result"
WHOLE = {(0, 0): 5, (1, 0): 5}


@pytest.fixture
def engine(maxcompute_engine):
    found = maxcompute_engine()
    found.create("aster", TILES)
    found.append("aster", [row(g, x, 0, v) for x in (0, 1) for g, v in (("A", 2), ("B", 3))])
    return found


def helpers_left(server):
    return [name for _, name in server.catalog.tables if "__" in name]


def nothing_happened(engine, server):
    return engine.read("maps").read_all().num_rows == 0 and helpers_left(server) == []


@pytest.mark.parametrize(
    ("kind", "match", "details"),
    [
        ("5xx", "instance.create", {"status": 503}),
        ("5xx", "instance.status", {"status": 500}),
        ("reply_lost", "instance.create", {}),
        ("done_5xx", "instance.create", {}),
        ("reset", "upload.block", {}),
        ("5xx", "upload.commit", {}),
        ("done_5xx", "upload.commit", {}),
        ("5xx", "resource.create", {}),
        ("done_5xx", "resource.create", {}),
        ("done_5xx", "function.create", {}),
        ("reply_lost", "function.create", {}),
        ("5xx", "instanceprogress", {}),
        ("5xx", "sign_bearer_token", {"times": None}),
        ("truncated", "download.data", {}),
        ("crc", "download.data", {}),
        ("task_slow", COMPUTE, {"seconds": 0.5}),
    ],
)
def test_trouble_of_a_moment_does_not_show(engine, server, kind, match, details):
    fault = server.faults.add(kind, details.pop("times", 1), match=match, **details)
    if match == "instanceprogress":  # who is done when first asked tells of no progress
        server.faults.add("task_slow", match=COMPUTE, seconds=1)
    report = engine.run(job()).wait()
    assert report.counts["ok"] == 2
    assert values(engine) == WHOLE
    assert fault.hits
    assert len(statements(server, COMPUTE)) == 1  # never computed twice
    assert helpers_left(server) == []


@pytest.mark.parametrize(
    ("kind", "details", "said"),
    [
        ("task_failed", {}, "fuxi job failed"),
        ("task_failed_done", {}, "fuxi job failed"),
        ("task_cancelled", {}, "cancelled from outside"),
        ("task_failed", {"message": "ODPS-0010000:killed, exceed memory limit"}, "plan udtf"),
    ],
)
def test_a_failed_statement_commits_nothing_and_the_next_run_is_whole(
    engine, server, kind, details, said
):
    server.faults.add(kind, match=COMPUTE, **details)
    run = engine.run(job())
    with pytest.raises(GeoquarryError, match=said) as error:
        run.wait()
    assert run.instance_id in str(error.value)
    assert run.status == "failed"
    assert nothing_happened(engine, server)
    assert engine.run(job(resume=True)).wait().counts["ok"] == 2
    assert values(engine) == WHOLE


def test_a_commit_that_meets_another_writer_is_said_again(engine, server):
    fault = server.faults.add("conflict", match="INSERT.*`maps` ")
    assert engine.run(job()).wait().counts["ok"] == 2
    assert fault.hits
    assert values(engine) == WHOLE


def test_a_commit_that_was_done_and_reported_as_failed_is_not_done_twice(engine, server):
    server.faults.add("task_failed_done", match="INSERT.*`maps` ")
    assert engine.run(job()).wait().counts["ok"] == 2
    assert values(engine) == WHOLE


def test_a_function_that_dies_takes_the_job_with_it_and_says_so(engine, server):
    with pytest.raises((UdfError, InstanceFailed)) as error:
        engine.run(job(die=[[1, 0]])).wait()
    assert "instance" in str(error.value)
    assert nothing_happened(engine, server)


def test_an_image_without_what_the_function_imports_is_named(maxcompute_engine, engine, server):
    """The error is the last words of its traceback, on one line, not a page of the service's."""
    bare = maxcompute_engine(image="none")
    with pytest.raises(UdfError) as error:
        bare.run(job()).wait()
    said = str(error.value)
    assert "No module named 'numpy'" in said
    assert "--image" in said
    assert "\n" not in said
    assert nothing_happened(engine, server)


def test_an_archive_that_is_missing_is_named(engine, server, monkeypatch):
    from geoquarry.engine import maxcompute_functions

    monkeypatch.setattr(maxcompute_functions.Archive, "data", property(lambda self: b""), False)
    with pytest.raises(GeoquarryError):
        engine.run(job()).wait()
    assert nothing_happened(engine, server)


def test_tiles_that_do_not_come_back_are_an_error(engine, server, monkeypatch):
    from geoquarry.engine import maxcompute_driver

    whole = maxcompute_driver.job_statement
    monkeypatch.setattr(
        maxcompute_driver,
        "job_statement",
        lambda *args, **kwargs: whole(*args, **kwargs).replace(
            "WHERE s.`zone`", "WHERE s.`tile_x` = 0 AND s.`zone`"
        ),
    )
    with pytest.raises(TableError, match="1 of 2 tiles did not come back"):
        engine.run(job()).wait()
    assert nothing_happened(engine, server)


def test_a_result_over_the_limit_of_a_cell_fails_its_tile(maxcompute_engine, engine, server):
    small = maxcompute_engine(max_cell_bytes=4000)
    report = small.run(job(big=True)).wait()
    assert report.counts["failed"] == 2
    assert "over the limit of 4000 per cell" in report.failed[0].message


def test_the_secret_is_in_no_request_and_no_row(engine, server):
    engine.run(job()).wait()
    for request in server.requests:
        assert server.secret.encode() not in request.body
        assert server.secret not in request.target + str(request.headers)
    rows = engine.read("maps").read_all().to_pylist()
    assert server.secret not in str(rows)
