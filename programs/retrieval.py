"""Retrieved demonstrations: a predictor that is shown, at every call, the demonstrations nearest to its inputs."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import dspy

from ..errors import ConfigError, ProgramFileError, ProgramStructureError
from .demo_index import Demo, DemoIndex, clean_demos
from .encoders import Encoder, as_encoder, encoder_from_spec
from .lm_state import public

FORMAT = 1
"""Version of the record `retrieval` in a saved predictor's state."""

logger = logging.getLogger(__name__)


class RetrievingPredict(dspy.Predict):  # type: ignore[misc]  # DSPy has no type marker
    """A `dspy.Predict` that gets the `k` demonstrations of its pool nearest to the inputs of each call.

    Which demonstrations a call is shown, first match first:

    1. those passed with the call, `predictor(query=..., demos=[...])`;
    2. with a pool: its `k` nearest, nearest first, never one whose inputs equal the call's; with `k=0` none at all;
    3. without a pool: `predictor.demos`, as in any `dspy.Predict`.

    So `predictor.demos`, where DSPy's other optimizers put theirs, counts only without a pool (a warning says when it
    does not); `retrieving` turns them into a pool. The pool and `k` belong to the program's configuration: `reset()`
    keeps them. Copies share the pool and its index.

    The state that is saved carries pool, `k` and encoder, and in `demos` the first `k` of the pool: a plain
    `dspy.Predict` ignores the first, and loads at least these.

    Args:
        signature: As for `dspy.Predict`.
        demos: The pool: mappings or `dspy.Example`s; of each, the fields of the signature are kept.
        k: How many are retrieved, 0 to `len(demos)`.
        encoder: What makes inputs comparable: an encoder or its name (see `encoders`); None is the lexical one.
        callbacks: As for `dspy.Predict`.
        **config: As for `dspy.Predict`.

    Raises:
        ConfigError: If `k` exceeds the pool, a demonstration lacks an input or an output field or holds what JSON
            does not, or the encoder is unknown.

    Example:
        >>> pool = [{"query": "Boil an egg?", "response": "8 minutes."}, {"query": "Wash wool?", "response": "Cold."}]
        >>> predictor = RetrievingPredict("query -> response", demos=pool, k=1)
        >>> predictor.retrieve(query="How do I boil eggs?")
        [{'query': 'Boil an egg?', 'response': '8 minutes.'}]
    """

    demos: list[Any]
    index: DemoIndex
    k: int

    def __init__(
        self,
        signature: str | type[dspy.Signature],
        *,
        demos: Sequence[Mapping[str, Any] | dspy.Example] = (),
        k: int = 0,
        encoder: Encoder | str | None = None,
        callbacks: list[Any] | None = None,
        **config: Any,
    ) -> None:
        super().__init__(signature, callbacks=callbacks, **config)
        self.index = DemoIndex(
            clean_demos(demos, self.signature), tuple(self.signature.input_fields), as_encoder(encoder)
        )
        self.k = _checked_k(k, len(self.index.demos))
        self._encoder_was_chosen = encoder is not None

    @property
    def pool(self) -> tuple[Demo, ...]:
        """The demonstrations to retrieve from; shared between copies, so not to be edited."""
        return self.index.demos

    def use_encoder(self, encoder: Encoder | str | None) -> None:
        """Compare by another encoder from now on, or by the same one with its endpoint given again."""
        self.index = DemoIndex(self.index.demos, self.index.input_fields, as_encoder(encoder))

    def retrieve(self, **inputs: Any) -> list[Demo]:
        """Return the demonstrations that a call with these inputs is shown, nearest first."""
        if not self.pool:
            return list(self.demos)
        if self.demos:
            _warn_shadowed()
        return self.index.search(self.index.query_text(inputs), self.k)

    def forward(self, **kwargs: Any) -> dspy.Prediction:
        """Answer as `dspy.Predict` does, with the retrieved demonstrations."""
        if self.pool and "demos" not in kwargs:
            kwargs["demos"] = self.retrieve(**kwargs)
        return super().forward(**kwargs)

    async def aforward(self, **kwargs: Any) -> dspy.Prediction:
        """Do what `forward` does, asynchronously."""
        if self.pool and "demos" not in kwargs:
            # An encoder computes or waits for a server: neither may hold up the event loop.
            kwargs["demos"] = await asyncio.to_thread(functools.partial(self.retrieve, **kwargs))
        return await super().aforward(**kwargs)

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """Return `dspy.Predict`'s state with the record `retrieval`, and static demonstrations for plain loaders."""
        state: dict[str, Any] = public(super().dump_state(json_mode=json_mode))
        state["demos"] = state["demos"] or self._static()
        state["retrieval"] = {
            "format": FORMAT,
            "k": self.k,
            "pool": [dict(demo) for demo in self.pool],
            "encoder": self.index.encoder.spec(),
        }
        return state

    def load_state(self, state: dict[str, Any], *, allow_unsafe_lm_state: bool = False) -> RetrievingPredict:
        """Take over a saved state; an encoder given to the constructor stays, if it is the one that was saved.

        Raises:
            ProgramFileError: If the record `retrieval` is damaged, of an unknown format or names an unknown encoder.
            ProgramStructureError: If the state has no pool and this predictor has one, the fields differ, or the
                encoder is another than the one given to the constructor.
        """
        plain = {key: value for key, value in state.items() if key != "retrieval"}
        if "retrieval" not in state:
            if self.pool:
                raise ProgramStructureError(
                    f"the saved state has no retrieval pool, but this predictor has one of {len(self.pool)} "
                    "demonstrations: it was saved from a plain dspy.Predict; load it into one"
                )
            super().load_state(plain, allow_unsafe_lm_state=allow_unsafe_lm_state)
            return self
        k, index = self._read_retrieval(state["retrieval"])
        super().load_state(plain, allow_unsafe_lm_state=allow_unsafe_lm_state)
        self.k, self.index = k, index
        self.demos = [] if self.demos == self._static() else self.demos
        return self

    def _static(self) -> list[Demo]:
        return [dict(demo) for demo in self.pool[: self.k]]

    def _read_retrieval(self, saved: Any) -> tuple[int, DemoIndex]:
        if not isinstance(saved, Mapping) or saved.get("format") != FORMAT:
            version = saved.get("format") if isinstance(saved, Mapping) else saved
            raise ProgramFileError(
                f"the saved retrieval has format {version!r}, this version of drpo reads {FORMAT}; upgrade drpo-dspy"
            )
        pool = saved.get("pool")
        if not isinstance(pool, list) or not all(isinstance(demo, Mapping) for demo in pool):
            raise ProgramFileError("the saved retrieval is incomplete: its pool is no list of demonstrations")
        fields = {name for demo in pool for name in demo} - set(self.signature.fields)
        if fields:
            raise ProgramStructureError(
                f"the saved demonstrations have the fields {sorted(fields)!r}, which this predictor's signature "
                f"{self.signature.signature!r} lacks; load them into a program of the structure that was saved"
            )
        spec = saved.get("encoder")
        encoder = self.index.encoder
        if not _same_vectors(encoder.spec(), spec):
            if self._encoder_was_chosen:
                raise ProgramStructureError(
                    f"the program was saved with the encoder {spec!r}, but this predictor was built with "
                    f"{encoder.spec()!r}; build it with the saved one, or with encoder=None and call use_encoder later"
                )
            encoder = encoder_from_spec(spec)
        try:
            demos = clean_demos(pool, self.signature)
            return _checked_k(saved.get("k"), len(demos)), DemoIndex(demos, self.index.input_fields, encoder)
        except ConfigError as error:
            raise ProgramFileError(f"the saved retrieval cannot be used: {error}") from None


def retrieving(
    predictor: dspy.Predict,
    *,
    k: int,
    encoder: Encoder | str | None = None,
    demos: Sequence[Mapping[str, Any] | dspy.Example] | None = None,
) -> RetrievingPredict:
    """Return a copy of a predictor that retrieves its demonstrations.

    Args:
        predictor: A `dspy.Predict` or `RetrievingPredict`; it is left as it is.
        k: How many demonstrations are retrieved per call.
        encoder: As for `RetrievingPredict`; None keeps that of a predictor which already retrieves.
        demos: The pool. None: the predictor's own pool, or without one its `.demos`.

    Raises:
        ConfigError: If the predictor is of another class, whose behaviour the copy would lose, or as for
            `RetrievingPredict`.

    Example:
        >>> plain = dspy.Predict("query -> response")
        >>> plain.demos = [dspy.Example(query="Hi", response="Hello!")]
        >>> retrieving(plain, k=1).pool
        ({'query': 'Hi', 'response': 'Hello!'},)
    """
    if type(predictor) not in (dspy.Predict, RetrievingPredict):
        raise ConfigError(
            f"predictor={predictor!r}: only a dspy.Predict or a RetrievingPredict can be made to retrieve"
        )
    before = predictor if isinstance(predictor, RetrievingPredict) else None
    if demos is None:
        demos = before.pool if before and before.pool else predictor.demos
    chosen = encoder if encoder is not None or before is None else before.index.encoder
    copy = RetrievingPredict(predictor.signature, demos=demos, k=k, encoder=chosen)
    for name, value in vars(predictor).items():
        if name not in ("index", "k", "demos", "_encoder_was_chosen"):
            setattr(copy, name, value.copy() if isinstance(value, list | dict) else value)
    copy._encoder_was_chosen = encoder is not None or (before is not None and before._encoder_was_chosen)
    return copy


def _checked_k(k: object, available: int) -> int:
    if not isinstance(k, int) or isinstance(k, bool) or k < 0:
        raise ConfigError(f"k={k!r}: give the number of demonstrations to retrieve, 0 for none")
    if k > available:
        raise ConfigError(f"k={k}: there are only {available} demonstrations; give more demos or a smaller k")
    return k


def _same_vectors(one: object, other: object) -> bool:
    # An endpoint does not change the vectors, and is not in the file.
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return False
    return {**one, "own_endpoint": None} == {**other, "own_endpoint": None}


@functools.cache  # once per process, else a compile repeats it thousands of times
def _warn_shadowed() -> None:
    logger.warning(
        "A RetrievingPredict has both a pool and `.demos`: it retrieves from the pool and does not show `.demos`. "
        "To retrieve from them instead use drpo.programs.retrieval.retrieving(predictor, k=..., demos=predictor.demos)."
    )
