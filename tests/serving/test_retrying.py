"""What follows a try that failed: by the kind of error, and by whether others were answered meanwhile."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator

import pytest
from dspy import lm15
from dspy.utils.exceptions import LMError, LMServerError, LMTimeoutError
from hypothesis import given
from hypothesis import strategies as st

from drpo.programs.outages import is_given_up, outage_in
from drpo.serving import retrying
from drpo.serving.retrying import Next, Tries, Trouble, trouble_of
from drpo.serving.services import Service
from drpo.serving.wire_errors import MalformedReplyError, UnreachableError, is_unreachable


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def service(clock: Clock) -> Service:
    return Service("http://there/v1", clock=clock)


@pytest.fixture(autouse=True)
def _no_luck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wait is as long as it may be."""
    monkeypatch.setattr(retrying, "FIRST_WAIT", 1.0)
    monkeypatch.setattr(retrying, "LONGEST_WAIT", 60.0)
    monkeypatch.setattr(retrying._random, "uniform", lambda low, high: high)


def tries(service: Service, *, retries: int = 3, endpoints: int = 1, patience: float = 300.0) -> Tries:
    return Tries(service, who="the judge LM", retries=retries, endpoints=endpoints, patience=patience)


def waits(one: Tries, clock: Clock, error: Callable[[], Exception], *, limit: int = 99) -> tuple[list[float], Next]:
    """Fail until the call ends, the time of each wait passing; return the waits and the end."""
    waited: list[float] = []
    for _ in range(limit):
        follows = one.failed(error())
        if follows.error is not None:
            return waited, follows
        clock.now += follows.wait
        waited.append(follows.wait)
    return waited, follows


KINDS = {
    Trouble.LIMITED: [lm15.RateLimitError("slow down", status=429)],
    Trouble.PASSING: [
        lm15.ServerError("down", status=500),
        lm15.TransportError("broken"),
        lm15.TimeoutError("no reply"),
        lm15.ProviderError("no JSON", status=200),
        MalformedReplyError("no JSON"),
        UnreachableError("refused"),
        LMServerError("down"),
    ],
    Trouble.LATE: [LMTimeoutError("late", code="call_timeout")],
    Trouble.REFUSED: [lm15.InvalidRequestError("no", status=400), lm15.ContextLengthError("too long")],
    Trouble.LASTING: [
        lm15.AuthError("wrong key", status=401),
        lm15.BillingError("no credit", status=402),
        lm15.UnsupportedModelError("no such model", status=404),
    ],
    Trouble.UNKNOWN: [RuntimeError("a bug"), lm15.ProviderError("a teapot", status=418), ImportError("no module")],
}


@pytest.mark.parametrize(("kind", "error"), [(kind, error) for kind, errors in KINDS.items() for error in errors])
def test_kinds(kind: Trouble, error: Exception) -> None:
    assert trouble_of(error) is kind


# --- one call ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [error for error in KINDS[Trouble.PASSING] if not is_unreachable(error)])
def test_a_hiccup_is_tried_again_with_growing_waits(error: Exception, service: Service, clock: Clock) -> None:
    one = tries(service, retries=4)
    assert [one.failed(error).wait for _ in range(4)] == [1, 2, 4, 8]


def test_waits_do_not_grow_for_ever(service: Service, clock: Clock) -> None:
    one = tries(service, retries=99, patience=1e9)
    assert [one.failed(lm15.ServerError("down")).wait for _ in range(99)][-1] == 60


@pytest.mark.parametrize("kind", [lm15.RateLimitError, lm15.ServerError])
def test_it_waits_as_told(kind: type[lm15.LM15Error], service: Service) -> None:
    assert tries(service).failed(kind("later", retry_after=7.5)).wait == 7.5


def test_rate_limits_use_up_no_retries(service: Service, clock: Clock) -> None:
    """Invariant: an endpoint that says that it is busy lives; however often it says so, the call is not lost."""
    one = tries(service, retries=1)
    for _ in range(200):
        assert one.failed(lm15.RateLimitError("busy", retry_after=1.0)).error is None
        clock.now += 1
        service.answered()  # somebody else is
    assert one.failed(lm15.ServerError("down")).error is None


def test_an_endpoint_that_asks_for_no_wait_in_vain_is_spared(service: Service) -> None:
    """`Retry-After: 0` again and again would mean thousands of requests."""
    one = tries(service)
    told = [one.failed(lm15.RateLimitError("busy", retry_after=0.0)).wait for _ in range(7)]
    assert told == [0, 0, 0, 1, 2, 4, 8]


def test_a_call_that_is_always_limited_is_given_up_if_others_are_answered(service: Service, clock: Clock) -> None:
    """A prompt may be too large for a limit on tokens per minute: it would be refused so for ever."""
    one = tries(service, patience=60)
    for _ in range(7):
        follows = one.failed(lm15.RateLimitError("too large", retry_after=10.0))
        assert follows.error is None
        clock.now += follows.wait
        service.answered()
    follows = one.failed(lm15.RateLimitError("too large", retry_after=10.0))
    assert follows.for_good
    assert is_given_up(follows.error or ValueError())


@pytest.mark.parametrize("error", KINDS[Trouble.REFUSED] + KINDS[Trouble.UNKNOWN])
def test_what_would_fail_again_is_not_tried_again(error: Exception, service: Service) -> None:
    follows = tries(service).failed(error)
    assert (follows.error, follows.given_up, follows.ends_run) == (error, False, False)


@pytest.mark.parametrize("error", KINDS[Trouble.LASTING])
def test_what_fails_for_all_ends_the_run(error: Exception, service: Service) -> None:
    follows = tries(service).failed(error)
    assert (follows.error, follows.ends_run) == (error, True)


def test_a_late_call_has_one_more_try(service: Service) -> None:
    late = LMTimeoutError("late", code="call_timeout")
    one = tries(service, retries=5)
    assert one.failed(late) == Next()
    assert one.failed(late) == Next(error=late, given_up=True), "a resumed run may ask again: nobody was answered"
    other = tries(service, retries=5)
    other.failed(late)
    service.answered()
    assert other.failed(late).for_good, "others were answered: it is this call that takes too long"


@pytest.mark.parametrize("error", [*KINDS[Trouble.LIMITED], *KINDS[Trouble.PASSING], *KINDS[Trouble.LATE]])
def test_without_retries_a_call_is_asked_once(error: Exception, service: Service) -> None:
    follows = tries(service, retries=0).failed(error)
    assert (follows.error, follows.ends_run, follows.for_good) == (error, False, False)
    assert tries(service, retries=0).longest is None


def test_another_endpoint_is_tried_at_once(service: Service) -> None:
    """Invariant: that costs no retry and no wait, once per endpoint and round."""

    def error() -> Exception:
        made = lm15.ServerError("down")
        made.elsewhere = True
        return made

    one = tries(service, retries=2, endpoints=3)
    assert [one.failed(error()).wait for _ in range(6)] == [0, 0, 1, 0, 0, 2]
    once = tries(service, retries=0, endpoints=2)
    assert [once.failed(error()).error is None for _ in range(2)] == [True, False]


# --- the call and the others -------------------------------------------------------------------------


def test_a_call_that_fails_while_others_are_answered_is_given_up(service: Service, clock: Clock) -> None:
    """Invariant: it is missing then, and no outage."""
    one = tries(service, retries=2)
    follows = [one.failed(lm15.ServerError("down", status=500)), one.failed(lm15.ServerError("down", status=500))]
    service.answered()
    end = one.failed(lm15.ServerError("down", status=500))
    assert [one.error for one in follows] == [None, None]
    assert end.for_good
    assert not end.ends_run
    assert end.error is not None
    assert "the judge LM failed 3 times on this call and answered others meanwhile, so it is" in str(end.error)
    assert is_given_up(end.error)
    assert outage_in(end.error) is None


OWN = [lm15.ServerError("failed", status=500), lm15.TimeoutError("no reply"), MalformedReplyError("no JSON")]


@pytest.mark.parametrize("error", OWN)
def test_a_call_that_is_left_alone_and_may_have_itself_to_blame(error: Exception, service: Service) -> None:
    """The last call of a batch has no others beside it, but those before it were answered since its first try."""
    one = tries(service, retries=2)
    service.answered()
    follows = [one.failed(error) for _ in range(3)]
    assert [one.given_up for one in follows] == [False, False, True]
    assert follows[2].for_good


@pytest.mark.parametrize("error", OWN)
def test_one_call_that_nobody_can_vouch_for_is_given_up_and_a_second_one_ends_the_run(
    error: Exception, service: Service, clock: Clock
) -> None:
    """Where one call is asked at a time, the next one tells; a resumed run asks again."""
    begin = clock.now
    _, first = waits(tries(service), clock, lambda: error)
    assert (first.given_up, first.for_good, first.ends_run) == (True, False, False)
    assert "the judge LM failed 1" in str(first.error)
    assert "in 295 s, in which nobody was answered, so it is given up" in str(first.error)
    _, second = waits(tries(service), clock, lambda: error)
    assert second.ends_run
    assert clock.now - begin <= 300
    service.answered()
    _, third = waits(tries(service), clock, lambda: error)
    assert third.given_up


def test_answers_to_calls_that_were_under_way_do_not_hide_an_outage(service: Service) -> None:
    """A service that goes down answers what it has begun: calls that fail meanwhile are not given up for that."""
    one = tries(service, retries=2)
    one.failed(lm15.TransportError("refused"))
    service.answered()
    assert one.failed(lm15.TransportError("refused")).error is None
    assert one.failed(lm15.TransportError("refused")).error is None
    service.answered()
    assert one.failed(lm15.ServerError("just back")).error is None


@pytest.mark.parametrize("patience", [0.0, 1.0, 5.0, 30.0, 300.0])
@pytest.mark.parametrize("kind", [lm15.ServerError, lm15.TransportError, lm15.RateLimitError])
def test_an_outage_ends_within_the_patience(
    kind: type[lm15.LM15Error], patience: float, service: Service, clock: Clock
) -> None:
    """Invariant: if nobody is answered, the run ends, and no later than stated."""
    begin = clock.now
    waited, end = waits(tries(service, patience=patience), clock, lambda: kind("gone"))
    assert end.ends_run
    assert not end.given_up
    assert 0.9 * patience - 5 <= clock.now - begin <= patience
    assert outage_in(end.error or ValueError()) is end.error
    assert "http://there/v1 has answered nobody for" in str(end.error)
    assert "the judge LM is needed, so the run ends" in str(end.error)
    assert len(waited) < 20


@given(
    events=st.lists(st.sampled_from(["fail", "limit", "answer", "pass"]), max_size=80),
    retries=st.integers(1, 4),
    patience=st.floats(1, 100),
)
def test_no_call_is_given_up_in_an_outage_and_none_outlasts_the_patience(
    events: list[str], retries: int, patience: float
) -> None:
    """Invariant: given up means that others were answered; the end of the run means that nobody was for so long."""
    clock = Clock()
    service = Service("there", clock=clock)
    one = tries(service, retries=retries, patience=patience)
    answered_since_first, last_sign = False, None
    for event in events:
        if event == "answer":
            service.answered()
            answered_since_first, last_sign = True, None
        elif event == "pass":
            clock.now += 3
        else:
            last_sign = clock.now if last_sign is None else last_sign
            follows = one.failed(lm15.ServerError("down") if event == "fail" else lm15.RateLimitError("busy"))
            silence = clock.now - last_sign
            if follows.given_up:
                assert answered_since_first
            if follows.ends_run:
                assert silence >= patience - min(5, patience / 10) - 0.01
            if follows.error is not None:
                return
            assert silence + follows.wait <= patience
            clock.now += follows.wait


def test_a_wait_longer_than_the_patience_is_not_waited_for(service: Service, clock: Clock) -> None:
    end = tries(service, patience=60).failed(lm15.RateLimitError("quota", retry_after=3600.0))
    assert end.ends_run
    assert "asks for a wait of 3600 s, longer than an outage is waited for" in str(end.error)


def test_a_call_gets_its_retries_anew_after_an_outage(service: Service, clock: Clock) -> None:
    """A service that is just back may stumble; one that stumbles again and again loses the call."""
    one = tries(service, retries=2)
    for _ in range(6):
        clock.now += one.failed(lm15.ServerError("down")).wait
    service.answered()
    assert [one.failed(lm15.ServerError("stumbles")).error for _ in range(2)] == [None, None]
    service.answered()
    assert one.failed(lm15.ServerError("stumbles")).given_up


def test_a_mistyped_address_is_not_waited_for(service: Service, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """Where nobody has ever listened, seconds are enough; and they are not silent."""
    begin = clock.now
    with caplog.at_level(logging.WARNING, logger="drpo"):
        _, end = waits(tries(service), clock, lambda: UnreachableError("connection refused"))
    assert end.ends_run
    assert "nobody listens at http://there/v1, nor did in 9 s: check whether the judge LM runs" in str(end.error)
    assert clock.now - begin <= 10
    assert [record.message for record in caplog.records] == [
        "http://there/v1 gives no answer to the judge LM; it is asked again for 10 s: UnreachableError: connection refused"
    ]
    service.answered()
    begin = clock.now
    waits(tries(service), clock, lambda: UnreachableError("connection refused"))
    assert clock.now - begin > 200, "it was there, so it may come back"


def test_an_outage_is_logged_once_and_so_is_its_end(
    service: Service, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    service.answered()
    with caplog.at_level(logging.WARNING, logger="drpo"):
        for _ in range(3):
            waits(tries(service, retries=1), clock, lambda: lm15.ServerError("down"), limit=3)
        service.answered()
        service.answered()
    assert len(caplog.records) == 2
    assert caplog.records[1].message.startswith("http://there/v1 answers again, after ")


def test_tries_of_an_outage_take_no_longer_than_it_is_waited_for(service: Service, clock: Clock) -> None:
    one = tries(service, patience=20)
    assert one.longest is None
    one.failed(lm15.ServerError("down"))
    clock.now += 12
    assert one.longest == 8
    service.answered()
    assert one.longest is None


# --- errors of the wire ------------------------------------------------------------------------------


@pytest.fixture
def behind() -> Iterator[Callable[[Exception, Exception], Exception]]:
    def chained(reported: Exception, reason: Exception) -> Exception:
        reported.__cause__ = reason
        return reported

    return chained


def test_what_is_unreachable_is_seen_behind_any_error(
    behind: Callable[[Exception, Exception], Exception], service: Service, clock: Clock
) -> None:
    """DSPy's own clients report it in their way."""
    begin = clock.now
    error = behind(lm15.TransportError("cannot connect"), ConnectionRefusedError(111, "refused"))
    waits(tries(service), clock, lambda: error)
    assert clock.now - begin <= 10
    other = behind(lm15.TransportError("broken"), json.JSONDecodeError("no", "", 0))
    waits(tries(service), clock, lambda: other)
    assert clock.now - begin > 200


def test_messages_keep_what_the_error_told(service: Service, clock: Clock) -> None:
    error = lm15.ServerError("down", status=503, provider="there", request_id="r-1")
    _, end = waits(tries(service, retries=1), clock, lambda: error)
    assert isinstance(end.error, LMError)
    assert (end.error.status, end.error.provider, end.error.request_id) == (503, "there", "r-1")
    assert end.error.__cause__ is error
