"""The journal: one write, one lock, gapless numbers; torn ends are cut, damage costs only itself."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routinectl.core.event import Event, decode, encode
from routinectl.files import checkpoint
from routinectl.files import journal as journals
from routinectl.files.journal import Journal, Swapped
from routinectl.files.layout import Layout

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    found = Layout(tmp_path)
    found.make()
    return found


def write(layout: Layout, *kinds: str) -> Journal:
    journal = Journal(layout)
    with journal.transaction():
        journal.append([Event(kind, "x", {"n": number}) for number, kind in enumerate(kinds)], NOW)
    journal.sync()
    return journal


def read(layout: Layout) -> tuple[list[str], Journal]:
    journal = Journal(layout)
    return [event.type for event in journal.read_new()], journal


def segment(layout: Layout, number: int = 1) -> Path:
    return layout.journal / f"{number:06d}.jsonl"


def test_what_is_appended_is_read_in_order_with_gapless_numbers(layout):
    write(layout, "a", "b")
    write(layout, "c")
    journal = Journal(layout)
    events = journal.read_new()

    assert [(event.type, event.seq) for event in events] == [("a", 1), ("b", 2), ("c", 3)]
    assert len({event.id for event in events}) == 3
    assert events[0].time == "2026-11-21T09:00:00Z"


def test_a_reader_sees_what_others_append(layout):
    first, second = write(layout, "a"), Journal(layout)
    second.read_new()
    with first.transaction():
        first.append([Event("b", "x", {})], NOW)

    assert [event.type for event in second.read_new()] == ["b"]


def test_a_transaction_sees_everything_that_was_appended_before_it(layout):
    first, second = write(layout, "a"), Journal(layout)
    with second.transaction() as others:
        assert [event.type for event in others] == ["a"]
        second.append([Event("b", "x", {})], NOW)
    with first.transaction() as others:
        assert [event.type for event in others] == ["b"]


def test_a_torn_last_line_is_cut_before_the_next_append_and_kept_aside(layout):
    write(layout, "a")
    with segment(layout).open("ab") as file:
        file.write(b'{"specversion":"1.0","id":"torn')
    assert read(layout)[0] == ["a"]
    journal = write(layout, "b")

    assert read(layout)[0] == ["a", "b"]
    assert journal.torn
    assert [path.read_bytes()[-4:] for path in layout.journal.glob("torn-*")] == [b"torn"]


def test_a_damaged_line_costs_only_itself_and_is_told(layout):
    write(layout, "a", "b", "c")
    lines = segment(layout).read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"b"', b'"B"')
    segment(layout).write_bytes(b"".join(lines))
    kinds, journal = read(layout)

    assert kinds == ["a", "c"]
    (damage,) = journal.damage
    assert (damage.segment, damage.offset, damage.missing, damage.through) == (1, len(lines[0]), 1, "2026-11-21T09:00:00Z")


def test_a_removed_line_is_noticed_by_the_gap_in_the_numbers(layout):
    write(layout, "a", "b", "c")
    lines = segment(layout).read_bytes().splitlines(keepends=True)
    segment(layout).write_bytes(lines[0] + lines[2])
    kinds, journal = read(layout)

    assert kinds == ["a", "c"]
    assert journal.damage[0].missing == 1


def test_a_damaged_last_line_is_told_before_anything_follows_it(layout):
    write(layout, "a", "b")
    data = segment(layout).read_bytes()
    segment(layout).write_bytes(data[:-5] + b"X" + data[-4:])
    journal = Journal(layout)
    with journal.transaction() as events:
        assert [event.type for event in events] == ["a"]
        assert len(journal.damage) == 1
        journal.append([Event("c", "x", {})], NOW)

    assert read(layout)[0] == ["a", "c"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10_000), st.integers(0, 7), st.booleans())
def test_any_flipped_or_cut_byte_loses_at_most_its_own_lines(tmp_path_factory, position, bit, cut):
    layout = Layout(tmp_path_factory.mktemp("journal"))
    layout.make()
    write(layout, *"abcdefgh")
    data = bytearray(segment(layout).read_bytes())
    position %= len(data)
    if cut:
        del data[position]
    else:
        data[position] ^= 1 << bit
    segment(layout).write_bytes(data)
    kinds, journal = read(layout)

    assert set(kinds) <= set("abcdefgh")
    assert len(kinds) >= 6
    if len(kinds) < 8 and kinds[-1:] == ["h"]:
        assert journal.damage


def test_segments_follow_each_other(layout, monkeypatch):
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 300)
    for kind in "abcdef":
        write(layout, kind)

    assert len(Journal(layout).segments()) > 1
    assert read(layout)[0] == list("abcdef")


def test_a_reader_follows_into_the_next_segment(layout, monkeypatch):
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 300)
    reader = write(layout, "a")
    for kind in "bcdef":
        write(layout, kind)

    assert [event.type for event in reader.read_new()] == list("bcdef")


def test_a_replaced_segment_is_noticed(layout):
    journal = write(layout, "a")
    data = segment(layout).read_bytes()
    segment(layout).unlink()
    segment(layout).write_bytes(data)

    with pytest.raises(Swapped), journal.transaction():
        pass


def test_a_replaced_lock_file_is_noticed(layout):
    journal = write(layout, "a")
    layout.lock("journal").unlink()

    with pytest.raises(Swapped), journal.transaction():
        pass


def test_a_failed_write_appends_nothing(layout, monkeypatch):
    journal = write(layout, "a")
    real = os.write

    def short(fd, data):
        real(fd, bytes(data)[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(OSError, match="No space"), journal.transaction():
        journal.append([Event("b", "x", {})], NOW)
    monkeypatch.undo()

    assert read(layout)[0] == ["a"]
    assert journal.seq == 1


def test_an_event_survives_its_line():
    event = Event("run.ended", "x", {"message": 'crc":"00000000"} and "quotes" and ü \udcff'}, "id", "t", 4)

    assert decode(encode(event)) == event


def test_a_checkpoint_is_read_back_and_a_damaged_one_is_none(layout):
    saved = checkpoint.Checkpoint((1, 20), 3, "t", [{"type": "serve.started"}], [b"a\t-\t-\t{}", b"b\t1.5\to\t{}"])
    checkpoint.write(layout.checkpoint, saved)
    assert checkpoint.read(layout.checkpoint) == saved

    data = bytearray(layout.checkpoint.read_bytes())
    data[len(data) // 2] ^= 1
    layout.checkpoint.write_bytes(data)
    assert checkpoint.read(layout.checkpoint) is None


def test_a_seek_that_does_not_end_an_event_of_that_number_is_refused(layout):
    journal = write(layout, "a", "b")
    segment_number, offset = journal.position

    assert Journal(layout).seek((segment_number, offset), 2, "")
    assert not Journal(layout).seek((segment_number, offset), 3, "")
    assert not Journal(layout).seek((segment_number, offset - 3), 2, "")
    assert not Journal(layout).seek((segment_number, offset + 1), 2, "")


def test_space_is_set_aside_behind_the_end_and_no_reader_sees_it(layout):
    journal = write(layout, "a")
    journal.reserve()

    assert os.stat(journal.path(1)).st_size == journal.offset
    assert os.stat(journal.path(1)).st_blocks * 512 >= 1024 * 1024
    assert read(layout)[0] == ["a"]


def test_a_segment_that_finds_no_room_is_not_begun(layout, monkeypatch):
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 100)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journals.atomic, "reserve", full)
    for kind in "abc":
        write(layout, kind)
    assert Journal(layout).segments() == [1]
    monkeypatch.undo()
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 100)
    write(layout, "d")
    assert Journal(layout).segments() == [1, 2]
    assert read(layout)[0] == ["a", "b", "c", "d"]


def test_old_segments_go_once_a_checkpoint_and_the_ledgers_hold_what_they_said(layout, monkeypatch):
    from datetime import timedelta

    from routinectl.core.settings import Retention
    from routinectl.engine.retain import drop_segments
    from routinectl.engine.world import World
    from routinectl.files import projections

    monkeypatch.setattr(journals, "SEGMENT_BYTES", 400)
    for number in range(20):
        write(layout, "routine.paused" if number % 2 == 0 else "routine.resumed")
    write(layout, "routine.paused")
    world = World(layout)
    world.load()
    last = world.journal.segment
    long_ago, small = Retention(age=timedelta(days=1)), Retention(size=1)

    assert drop_segments(world, small) == 0, "the ledgers have not been written yet"
    projections.write_position(layout, world.journal.position, world.journal.seq)
    assert drop_segments(world, long_ago) == 0, "nothing is old enough"
    assert drop_segments(world, small) == last - 1
    assert Journal(layout).segments() == [last]

    layout.checkpoint.write_bytes(b"damaged")
    again = World(layout)
    again.load()
    assert again.standing("x").position == world.standing("x").position
    assert again.standing("x").version == 21
    assert again.journal.damage == []


def test_what_a_failed_sync_left_in_doubt_is_written_again_by_whoever_syncs_next(layout, monkeypatch):
    """The kernel takes the pages for clean after the error: a second sync alone would succeed, and write nothing."""
    journal = write(layout, "a")
    journal.sync()
    _, safe = journal.position

    def fails(fd):
        raise OSError(errno.EIO, "Input/output error")

    with journal.transaction():
        journal.append([Event("a", "x", {})], NOW)
    with monkeypatch.context() as patch, pytest.raises(OSError, match="Input/output error"):
        patch.setattr("routinectl.files.journal.os.fdatasync", fails)
        journal.sync()
    assert (layout.journal / "doubt").read_text() == f"1 {safe}"

    written = []
    pwrite = os.pwrite
    monkeypatch.setattr("routinectl.files.journal.os.pwrite", lambda fd, data, at: written.append((at, len(data))) or pwrite(fd, data, at))
    other = Journal(layout)
    other.read_new()
    other.sync()
    assert written == [(safe, journal.position[1] - safe)]
    assert not (layout.journal / "doubt").exists()
    assert [event.type for event in other.read_new()] == []
    assert len(Journal(layout).read_new()) == 2


def test_a_clock_that_was_accepted_ends_the_doubt_about_earlier_events(layout):
    journal = Journal(layout)
    for time, kind in (("2026-03-05T00:00:00Z", "a"), ("2026-03-02T00:00:00Z", "b")):
        with journal.transaction():
            journal.append([Event(kind, "", {})], datetime.fromisoformat(time))
    assert journal.last_time == "2026-03-05T00:00:00Z"
    with journal.transaction():
        journal.append([Event("clock.accepted", "", {})], datetime.fromisoformat("2026-03-02T00:00:01Z"))
    again = Journal(layout)
    again.read_new()

    assert journal.last_time == again.last_time == "2026-03-02T00:00:01Z"


def test_what_follows_a_number_is_read_from_the_segment_that_holds_it(workspace, monkeypatch):
    monkeypatch.setattr(journals, "SEGMENT_BYTES", 400)
    layout = Layout(workspace.root)
    layout.make()
    writer = journals.Journal(layout)
    for number in range(20):
        with writer.transaction():
            writer.append([Event("serve.started", "", {"pid": number})], datetime(2026, 3, 1, tzinfo=UTC))
    writer.sync()
    assert len(writer.segments()) > 3
    writer.close()

    for seq in (0, 1, 7, 19, 20, 99):
        assert [event.seq for event in journals.read_after(layout, seq)] == list(range(seq + 1, 21))
