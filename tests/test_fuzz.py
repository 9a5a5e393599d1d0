"""`check` on specs that are damaged at random: it takes them or says what is wrong, in one message, and soon."""

import signal

import pytest
from grids import call
from spec_mutations import damaged


class HangError(Exception):
    """`check` did not answer."""


def answer(seed, folder):
    """What `check` says of a damaged spec, after at most twenty seconds of the processor's time."""
    path = folder / "damaged.yaml"
    path.write_text(damaged(seed), encoding="utf-8")

    def give_up(number, frame):
        raise HangError(f"seed {seed}")

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, 20)
    try:
        return call("check", path)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def check_answers(seeds, folder):
    """Both verdicts come, each as it should, and no traceback."""
    taken = 0
    for seed in seeds:
        done = answer(seed, folder)
        assert done.exit_code in {0, 2}, f"seed {seed}: {done.exception!r}"
        if done.exit_code:
            assert done.stderr.count("attackgrid: ") == 1, f"seed {seed}"
        else:
            assert "damaged.yaml: ok: " in done.stdout, f"seed {seed}"
        taken += done.exit_code == 0
    assert 0 < taken < len(seeds)


def test_damaged_specs_are_taken_or_refused_in_one_message_and_never_end_in_a_traceback(tmp_path):
    check_answers(range(60), tmp_path)


@pytest.mark.drill
@pytest.mark.timeout(0)
def test_four_thousand_damaged_specs_are_taken_or_refused_and_never_end_in_a_traceback(tmp_path):
    check_answers(range(1000, 5000), tmp_path)
