import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loadgen.kinds.hashing import batch_key, mix, mix_words, stream_key, word, words, words_at
from loadgen.model import RunKey, Signal

_word = st.integers(0, (1 << 64) - 1)
KEY = RunKey("r", 1, 0)


def test_mix_is_splitmix64() -> None:
    # The first outputs of the published generator with seed 0.
    step = 0x9E3779B97F4A7C15
    assert [mix(step * i % (1 << 64)) for i in (1, 2, 3)] == [
        0xE220A8397B1DCDAF,
        0x6E789E6AA1B965F4,
        0x06C45D188009454F,
    ]


@given(st.lists(_word, max_size=20))
def test_mixing_many_words_equals_mixing_each(numbers: list[int]) -> None:
    assert mix_words(np.array(numbers, dtype=np.uint64)).tolist() == [mix(number) for number in numbers]


@given(_word, st.integers(0, 1 << 40), st.integers(0, 50))
def test_a_batch_of_words_equals_its_words_one_by_one(stream: int, n: int, count: int) -> None:
    assert words(stream, n, count).tolist() == [word(stream, n, i) for i in range(count)]


@given(_word, st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 30)), max_size=20))
def test_words_of_several_batches_equal_single_ones(stream: int, places: list[tuple[int, int]]) -> None:
    n, index = (np.array([place[i] for place in places], dtype=np.int64) for i in (0, 1))
    assert words_at(stream, n, index).tolist() == [word(stream, *place) for place in places]


def test_every_part_of_the_name_changes_the_stream() -> None:
    names = [
        stream_key(KEY, Signal.LOGS, 1, "f"),
        stream_key(RunKey("r", 2, 0), Signal.LOGS, 1, "f"),
        stream_key(RunKey("s", 1, 0), Signal.LOGS, 1, "f"),
        stream_key(KEY, Signal.TRACES, 1, "f"),
        stream_key(KEY, Signal.LOGS, 2, "f"),
        stream_key(KEY, Signal.LOGS, 1, "g"),
    ]
    assert len(set(names)) == len(names)
    assert stream_key(RunKey("r", 1, 99), Signal.LOGS, 1, "f") == names[0]


def test_neighbouring_batches_share_no_words() -> None:
    stream = stream_key(KEY, Signal.LOGS, 1, "f")
    seen = {value for n in range(200) for value in words(stream, n, 100).tolist()}
    assert len(seen) == 20_000
    assert batch_key(stream, 0) != stream


def test_a_returned_array_is_the_callers_own() -> None:
    first = words(5, 1, 10)
    first[:] = 0
    assert words(5, 1, 10).all()
