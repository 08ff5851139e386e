"""The pool of demonstrations: what is kept of each, and how the nearest to a query are found."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dspy

from ..errors import ConfigError
from .encoders import Encoder
from .text import JSON, normalise, render_inputs, to_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Demo = dict[str, JSON]
"""A demonstration: field name -> value, with at least one input and one output field."""

_REMEMBERED = 10_000
"""Searches of which an index keeps the answers: a compile asks the same queries for every candidate."""


class DemoIndex:
    """Demonstrations and what finds the nearest of them; never changed, so shared by all copies of a predictor.

    Nothing is encoded before the first search. Demonstrations and queries are compared by the text of their inputs.

    Args:
        demos: The demonstrations, from `clean_demos`.
        input_fields: Names of the input fields, in the order of the signature.
        encoder: What makes texts comparable. Its vectors live in this object alone: no two encoders share any.

    Example:
        >>> demos = ({"query": "Boil an egg?", "response": "8 minutes."}, {"query": "Wash wool?", "response": "Cold."})
        >>> from drpo.programs.lexical import LexicalEncoder
        >>> DemoIndex(demos, ("query",), LexicalEncoder()).search("egg", 1)[0]["response"]
        '8 minutes.'
    """

    _ready: _Built | None
    _answers: dict[tuple[bytes, int], Future[tuple[int, ...]]]

    def __init__(self, demos: Sequence[Demo], input_fields: Sequence[str], encoder: Encoder) -> None:
        self.demos = tuple(demos)
        self.input_fields = tuple(input_fields)
        self.encoder = encoder
        self._forget()

    def query_text(self, inputs: Mapping[str, object]) -> str:
        """Return the text by which inputs are compared: that of the input fields, rendered alike for all."""
        return render_inputs({name: inputs[name] for name in self.input_fields if name in inputs})

    def search(self, query: str, k: int) -> list[Demo]:
        """Return the `k` demonstrations nearest to a query by cosine similarity, nearest first, ties by position.

        Args:
            query: What `query_text` returns. Demonstrations with the same text, but for case and spacing, are left out.
            k: How many, at least 0; fewer are returned when the pool has no more.

        Raises:
            ConfigError: If the encoder returns anything but one finite vector per text.
        """
        if k <= 0 or not self.demos:
            return []
        key = hashlib.blake2b(query.encode("utf-8", "surrogatepass"), digest_size=16).digest(), k
        with self._lock:
            answer = self._answers.get(key)
            if mine := answer is None:
                answer = self._answers[key] = Future()
                if len(self._answers) > _REMEMBERED:
                    del self._answers[next(iter(self._answers))]
        if mine:
            try:
                answer.set_result(self._search(query, k))
            except BaseException as error:
                with self._lock:  # a failure is not remembered: the next call tries again
                    self._answers.pop(key, None)
                answer.set_exception(error)
        return [dict(self.demos[position]) for position in answer.result()]

    def prepare(self) -> None:
        """Encode the demonstrations now instead of at the first search, so that a mistake shows early.

        Raises:
            ConfigError: If the encoder returns anything but one finite vector per text.
        """
        self._built()

    def _search(self, query: str, k: int) -> tuple[int, ...]:
        import numpy as np

        built = self._built()
        same = built.positions.get(normalise(query), set())
        wanted = min(k, len(self.demos) - len(same))
        if wanted == 0:
            return ()
        vector = self._encode([query])
        if vector.shape[1] != built.faiss.d:
            raise ConfigError(
                f"{self.encoder!r} returned a vector of {vector.shape[1]} numbers for a query, but of {built.faiss.d} "
                "for the demonstrations: another model answers now; build the program again"
            )
        width = min(len(self.demos), wanted + len(same) + 8)
        while True:
            scores, near = _on_one_core(built.faiss, vector, width)
            # FAISS sums in an order that depends on the position, so equal vectors may differ in the last bit: sum
            # again row by row, and look further while the cut may run through a tie.
            exact = (built.faiss.reconstruct_batch(near[0]).astype(np.float64) * vector[0]).sum(axis=1)
            ranked = sorted(
                (-float(score), int(position))
                for score, position in zip(exact, near[0], strict=True)
                if int(position) not in same
            )
            if width == len(self.demos) or scores[0][-1] < -ranked[wanted - 1][0] - 1e-5:
                return tuple(position for _, position in ranked[:wanted])
            width = min(len(self.demos), 2 * width)

    def _built(self) -> _Built:
        with self._build_lock:
            if self._ready is None:
                import faiss

                texts = [self.query_text(demo) for demo in self.demos]
                vectors = self._encode(texts)
                index = faiss.IndexFlatIP(vectors.shape[1])
                index.add(vectors)
                positions: dict[str, set[int]] = defaultdict(set)
                for position, text in enumerate(texts):
                    positions[normalise(text)].add(position)
                self._ready = _Built(faiss=index, positions=positions)
            return self._ready

    def _encode(self, texts: list[str]) -> NDArray[np.float32]:
        import numpy as np

        vectors = np.array(self.encoder.encode(texts), dtype=np.float32)
        shaped = vectors.ndim == 2 and vectors.shape[0] == len(texts) and vectors.shape[1] > 0
        if not shaped or not np.isfinite(vectors).all():
            raise ConfigError(
                f"{self.encoder!r} returned an array of shape {vectors.shape} for {len(texts)} texts, or numbers that "
                "are not finite; an encoder returns one row of finite numbers per text"
            )
        # An encoder of the user's own may leave out what makes a dot product a cosine.
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit: NDArray[np.float32] = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
        return unit

    def _forget(self) -> None:
        self._ready = None
        self._answers = {}
        self._lock, self._build_lock = threading.Lock(), threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> DemoIndex:
        # Copying 51 MB of vectors took 0.47 s, and a search over prompts copies its program for every candidate.
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"demos": self.demos, "input_fields": self.input_fields, "encoder": self.encoder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __repr__(self) -> str:
        return f"DemoIndex({len(self.demos)} demonstrations, {self.encoder!r})"


def clean_demos(demos: Iterable[Mapping[str, Any] | dspy.Example], signature: type[dspy.Signature]) -> tuple[Demo, ...]:
    """Return demonstrations as plain mappings of a signature's fields, such as JSON holds and gives back unchanged.

    Raises:
        ConfigError: If one lacks an input or an output field (an LM would silently not be shown it) or holds a value
            that JSON does not (`save` would fail).
    """
    return tuple(_clean_demo(position, demo, signature) for position, demo in enumerate(demos))


def _clean_demo(position: int, demo: object, signature: type[dspy.Signature]) -> Demo:
    if isinstance(demo, dspy.Example):
        demo = demo.toDict()
    if not isinstance(demo, Mapping):
        raise ConfigError(f"demos[{position}]={demo!r}: give a mapping or a dspy.Example")
    for kind, names in (("input", signature.input_fields), ("output", signature.output_fields)):
        if not any(name in demo for name in names):
            raise ConfigError(
                f"demos[{position}] has the fields {list(demo)!r}, none of the {kind} fields {list(names)!r}: "
                "a demonstration needs at least one"
            )
    clean: Demo = {}
    for name in signature.fields:
        if name in demo:
            try:
                clean[name] = to_json(demo[name])
            except ValueError as error:
                raise ConfigError(f"demos[{position}][{name!r}] cannot be saved: it is {error}") from None
    return clean


def _on_one_core(index: Any, vector: NDArray[np.float32], width: int) -> tuple[Any, Any]:
    # Many threads search at once. FAISS dividing each search among all cores took 12 ms on two busy ones, against
    # 0.3 ms undivided (10,000 x 384). The setting belongs to the calling thread, so no other one is slowed down.
    import faiss

    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        found: tuple[Any, Any] = index.search(vector, width)
        return found
    finally:
        faiss.omp_set_num_threads(before)


@dataclass(frozen=True)
class _Built:
    faiss: Any
    """The FAISS index of the demonstrations, of type `IndexFlatIP`."""
    positions: dict[str, set[int]]
    """Normalised text of the inputs -> the demonstrations that have it."""
