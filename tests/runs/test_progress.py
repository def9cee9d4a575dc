"""What a long run shows: how long it will take and what is best so far, on a terminal and in plain lines."""

from __future__ import annotations

import io

import pytest

from polymodal.runs import progress as module
from polymodal.runs.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass only when a test says so."""
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    return now


def test_plain_lines_tell_the_time_left_and_the_best(clock):
    lines = io.StringIO()
    with Progress(stream=lines) as progress:
        stage = progress.stage("strategies", 10)
        for done in range(10):
            clock[0] += 30
            stage.score(f"way {done}", [0.5, 0.9, 0.7][min(done, 2)])
            stage.advance(f"way {done}")
        stage.end("over")
    told = lines.getvalue().splitlines()
    assert told[1] == "strategies: 1/10 way 0 (about 4 min left; best so far: way 0, 0.500)"
    assert told[8] == "strategies: 8/10 way 7 (about 60 s left; best so far: way 1, 0.900)"
    assert told[10] == "strategies: 10/10 way 9 (best so far: way 1, 0.900)"
    assert told[-1] == "strategies: over in 300.0 s"


def test_what_is_soon_over_tells_no_time(clock):
    lines = io.StringIO()
    stage = Progress(stream=lines).stage("quick", 4)
    for _ in range(4):
        clock[0] += 0.1
        stage.advance()
    assert "left" not in lines.getvalue()
    assert "best" not in lines.getvalue()


def test_a_terminal_shows_both_and_takes_no_markup_from_data():
    screen = Terminal()
    with Progress(stream=screen) as progress:
        stage = progress.stage("strategies", 3)
        stage.score("[bold]gated[/bold]", 0.25)
        stage.advance("[red]news[/red]")
    assert "left" in screen.getvalue()
    assert "[bold]gated[/bold], 0.250" in screen.getvalue()
