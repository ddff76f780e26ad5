from loadgen.looks import Looks

MS = 1_000_000


def test_looks_keep_their_pace_whatever_the_answers_take() -> None:
    looks = Looks(0, 200 * MS)
    for number in range(1, 5):
        looks.answered(looks.due_ns + 150 * MS)
        assert looks.due_ns == number * 200 * MS


def test_after_a_slow_answer_the_next_look_is_due_at_once_and_not_earlier() -> None:
    looks = Looks(0, 200 * MS)
    looks.answered(3_000 * MS)
    assert looks.due_ns == 3_000 * MS
    looks.answered(3_010 * MS)
    assert looks.due_ns == 3_200 * MS
