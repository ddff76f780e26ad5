from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.lab.wal import WriteAheadLog


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.wal"))


def test_appended_payloads_come_back_in_order(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    payloads = [b"", b"a", b"x" * 100_000, bytes(16)]
    for payload in payloads:
        log.append(payload)
    log.close()
    assert list(WriteAheadLog(tmp_path).replay()) == payloads


def test_a_payload_survives_without_a_close(tmp_path: Path) -> None:
    WriteAheadLog(tmp_path).append(b"kept")
    assert list(WriteAheadLog(tmp_path).replay()) == [b"kept"]


def test_replay_gives_only_what_was_there_at_the_opening(tmp_path: Path) -> None:
    WriteAheadLog(tmp_path).append(b"old")
    log = WriteAheadLog(tmp_path)
    log.append(b"new")
    assert list(log.replay()) == [b"old"]
    assert list(WriteAheadLog(tmp_path).replay()) == [b"old", b"new"]


@given(cut=st.integers(0, 60), junk=st.binary(max_size=12))
@settings(max_examples=60, deadline=None)
def test_a_torn_tail_costs_nothing_but_itself(cut: int, junk: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        log = WriteAheadLog(directory)
        whole = [b"first payload", b"second payload", b"third"]
        ends = [log.write(p).offset_bytes for p in whole]
        log.close()
        path = segments(directory)[0]
        keep = max(0, ends[-1] - cut)
        path.write_bytes(path.read_bytes()[:keep] + junk)
        again = WriteAheadLog(directory)
        expected = [p for p, end in zip(whole, ends, strict=True) if end <= keep]
        assert list(again.replay())[: len(expected)] == expected
        again.append(b"after the crash")
        again.close()
        assert list(WriteAheadLog(directory).replay())[-1] == b"after the crash"


def test_a_tail_of_zeros_is_not_taken_for_empty_payloads(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    log.append(b"good")
    log.close()
    path = segments(tmp_path)[0]
    path.write_bytes(path.read_bytes() + bytes(4096))
    assert list(WriteAheadLog(tmp_path).replay()) == [b"good"]


def test_a_flipped_bit_ends_its_segment_and_later_segments_are_still_read(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    log.append(b"damaged")
    log.append(b"behind it")
    log.rotate()
    log.append(b"fine")
    log.close()
    path = segments(tmp_path)[0]
    data = bytearray(path.read_bytes())
    data[9] ^= 1
    path.write_bytes(bytes(data))
    assert list(WriteAheadLog(tmp_path).replay()) == [b"fine"]


def test_dropped_segments_do_not_come_back_and_others_do(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    log.append(b"one")
    first = log.rotate()
    log.append(b"two")
    second = log.rotate()
    log.append(b"three")
    assert second == first + 1
    log.drop_through(first)
    assert list(WriteAheadLog(tmp_path).replay()) == [b"two", b"three"]
    log.drop_through(second + 10)
    assert list(WriteAheadLog(tmp_path).replay()) == [b"three"]


def test_a_position_of_a_closed_segment_is_on_disk(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    position = log.write(b"x")
    log.rotate()
    log.sync(position)
    assert position.segment == 1


def test_appends_of_many_threads_are_all_kept(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)

    def work(number: int) -> None:
        for i in range(20):
            log.append(b"%d-%d" % (number, i))
            if i == 10:
                log.rotate()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = list(WriteAheadLog(tmp_path).replay())
    assert sorted(found) == sorted(b"%d-%d" % (n, i) for n in range(6) for i in range(20))
    for n in range(6):
        own = [p for p in found if p.startswith(b"%d-" % n)]
        assert own == [b"%d-%d" % (n, i) for i in range(20)]


def test_a_failed_write_leaves_no_half_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    log = WriteAheadLog(tmp_path)
    log.append(b"before")
    real = os.write
    calls = iter([5])

    def full(file: int, data: bytes) -> int:
        count = next(calls, None)
        if count is None:
            raise OSError(28, "No space left on device")
        return real(file, bytes(data)[:count])

    monkeypatch.setattr("loadgen.lab.wal.os.write", full)
    with pytest.raises(OSError, match="No space"):
        log.append(b"too much")
    monkeypatch.undo()
    log.append(b"after")
    assert list(WriteAheadLog(tmp_path).replay()) == [b"before", b"after"]
