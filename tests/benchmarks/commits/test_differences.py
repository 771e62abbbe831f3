"""What counts as a difference of two commits, and what the report says of it."""

from __future__ import annotations

from benchmarks.commits.differences import Expected, Report, excerpt

ID, OTHER = b"0" * 32, b"f" * 32


BY_NATURE = [
    ("routes", "GET /nothing", "header date", b"Mon, 01 Jan 2026 00:00:00 GMT", b"Tue, 02 Jan 2026 00:00:00 GMT"),
    ("routes", "GET /nothing", "header x-request-id", ID, OTHER),
    ("routes", "GET /nothing", "body", b'{"request_id":"%b"}' % ID, b'{"request_id":"%b"}' % OTHER),
    ("images", "POST /segment", "header server-timing", b"decode;dur=1.5, queue;dur=0", b"decode;dur=12, queue;dur=0.1"),
    ("routes", "GET /health", "body", b'{"uptime_s":1.5}', b'{"uptime_s":20.1}'),
    ("routes", "GET /metrics", "body", b'# HELP a b\na{b="c"} 1.0\n', b'# HELP a b\na{b="c"} 2e+06\n'),
    ("commands", "fcn-segment in", "stdout", b'{"seconds": 0.1}', b'{"seconds": 2.5}'),
]


def test_what_differs_by_nature_is_equal_and_must_be_there() -> None:
    for kind, request, part, former, this in BY_NATURE:
        report = Report(changes=())
        report.add(kind, request, {part: former}, {part: this})
        assert report.unexpected() == []
        report.add(kind, request, {part: former}, {})
        assert [each.part for each in report.unexpected()] == [part]


def test_names_and_labels_of_metrics_count() -> None:
    report = Report(changes=())
    report.add("routes", "GET /metrics", {"body": b'a{b="c"} 1.0\n'}, {"body": b'a{b="d"} 1.0\n'})
    assert len(report.unexpected()) == 1


def test_a_journal_s_name_and_answers_times_are_equal() -> None:
    report = Report()
    names = [f"file out/.fcn-segment/png-ab/{sign * 20}-00000-of-00001-{sign * 8}.jsonl" for sign in "12"]
    report.add("commands", "fcn-segment in", {names[0]: b'{"written": "1 2"}'}, {names[1]: b'{"written": "1 3"}'})
    assert report.unexpected() == []


def test_expected_differences_are_told_and_so_is_one_that_does_not_occur() -> None:
    report = Report(changes=[Expected("GET /a: status", "a is gone"), Expected("GET /b: status", "b is gone")])
    report.add("routes", "GET /a", {"status": b"200"}, {"status": b"404"})
    report.add("routes", "GET /c", {"status": b"200", "body": b"x"}, {"status": b"200"})
    lines = list(report.lines())
    assert "expected, 1 times: GET /a: status: a is gone" in lines
    assert "expected, did not occur: GET /b: status" in lines
    assert [line for line in lines if line.startswith("differs")] == [
        "differs: routes, GET /c: body: only the former has it: b'x'"
    ]
    assert lines[-1] == "1 unexpected differences in 2 comparisons"


def test_excerpts_name_the_place() -> None:
    assert excerpt(b'{"a": [1, {"b": 2}]}', b'{"a": [1, {"b": 3}]}') == "$['a'][1]['b']: 2 / 3"
    assert excerpt(b'{"a": 1}', b"{}") == "$: 'a' is there on one side alone"
    assert excerpt(b'{"a": 1}', b'{"a":1}').startswith("byte 5 of 8 and 7: ")
    assert excerpt(b"abc", b"abcd") == "byte 3 of 3 and 4: b'abc' / b'abcd'"


def test_a_length_is_judged_as_its_body() -> None:
    report, length = Report(changes=[Expected("GET /a: body$", "a has other words")]), "header content-length"
    for request in ("GET /a", "GET /b"):
        report.add("routes", request, {"body": b"x", length: b"1"}, {"body": b"xy", length: b"2"})
    assert [(each.request, each.part) for each in report.unexpected()] == [("GET /b", "body"), ("GET /b", length)]
