"""What a run of the tests says of those that it skipped."""

from __future__ import annotations

from needs import lack, summary


def test_skipped_tests_are_counted_by_what_they_need():
    reasons = ["Skipped: need curl (apt-get install curl)", "Skipped: need tmux (apt-get install tmux)", "Skipped: need curl (apt-get install curl)",
               "Skipped: root reads everything"]  # fmt: skip
    assert summary(reasons) == [
        "skipped: 2 tests need curl (apt-get install curl)",
        "skipped: 1 test needs tmux (apt-get install tmux)",
        "skipped: 1 test: root reads everything",
    ]


def test_what_is_not_there_is_told_with_the_package_that_has_it(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name, path: None)
    lack.cache_clear()
    try:
        assert lack("crontab") == "crontab (apt-get install cron)"
    finally:
        lack.cache_clear()
