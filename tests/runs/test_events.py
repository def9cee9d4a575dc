"""Events and jobs cross the border between processes as JSON, and come out as they went in."""

from __future__ import annotations

import errno
import json

import pytest

from polymodal.core.errors import BadData, DiskFull
from polymodal.experiment.answer_job import AnswerJob
from polymodal.experiment.encoder_job import EncoderJob
from polymodal.experiment.end_to_end_job import EndToEndJob
from polymodal.experiment.jobs import JOBS
from polymodal.models.strategy import Strategy
from polymodal.preparation.work import PartJob
from polymodal.runs.events import Done, EpochEnd, Event, Failed, Skipped

TOLD = {"seed": 3, "training": {"epochs": 2}, "work": "/w", "out": "/w/out"}
STRATEGY = Strategy("fusion", "concat", ("x", "y"), objective=["ogm"], adapters=True)


def through_json(value):
    return json.loads(json.dumps(value.to_json()))


@pytest.mark.parametrize(
    "event",
    [
        EpochEnd(1, 5, 0.25, None),
        Done({"parameters": 7}, cached=True),
        Done(),
        Failed("no", "Trace"),
        Skipped(),
    ],
)
def test_an_event_is_a_line_of_json(event):
    assert Event.from_json(through_json(event)) == event


def test_only_the_last_event_of_a_job_is_over():
    assert [e.over for e in (EpochEnd(1, 2, 0.0, 0.0), Done(), Failed("no"), Skipped())] == [
        False, True, True, True,
    ]  # fmt: skip


def test_an_unknown_event_is_no_event():
    with pytest.raises(KeyError, match="paused"):
        Event.from_json({"event": "paused"})


def failed(error: Exception) -> Failed:
    """What a job says whose work raised `error`."""
    try:
        raise error
    except (OSError, DiskFull, BadData, ValueError) as caught:
        return Failed.by(caught)


def test_a_full_disk_is_told_as_such():
    full = failed(OSError(errno.ENOSPC, "No space left on device", "run/a.safetensors"))
    assert full.full
    assert full.reason.startswith("run/a.safetensors: the disk is full. Free some space")
    assert (full.trace, failed(DiskFull("the store")).full) == ("", True)
    assert not failed(OSError(errno.EIO, "Input/output error")).full


def test_an_error_of_ours_needs_no_trace():
    assert failed(BadData("no rows")) == Failed("no rows", "")
    other = failed(ValueError("broken"))
    assert other.reason == "ValueError: broken"
    assert other.trace.startswith("Traceback")


@pytest.mark.parametrize(
    "job",
    [
        EncoderJob(**TOLD, stream="x", fold=None, encoder="text_tfidf", inline=True),
        AnswerJob(**TOLD, strategy=STRATEGY),
        EndToEndJob(**TOLD, strategy=STRATEGY, encoders={"x": {"name": "text_tfidf"}}),
    ],
)
def test_a_job_of_a_fit_is_plain_values(job):
    written = through_json(job)
    assert JOBS[written["kind"]][0].from_json(written) == job


def test_a_job_of_prepare_is_plain_values():
    job = PartJob(task="apply", places=[0, 2], number=4, part="p", out="o", work="w", media="m")
    assert PartJob.from_json(through_json(job)) == job


def test_a_job_lacks_nothing_and_says_nothing_unknown():
    with pytest.raises(TypeError, match="stream"):
        EncoderJob.from_json({**TOLD, "kind": "encoder", "fold": None, "encoder": "text_tfidf"})
    with pytest.raises(TypeError, match="colour"):
        AnswerJob.from_json({**TOLD, "kind": "answer", "strategy": STRATEGY.to_json(), "colour": "red"})
