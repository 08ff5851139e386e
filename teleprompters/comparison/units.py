"""One unit of a comparison: one entrant with one seed, its calls on a record of its own, its program kept.

A unit is finished once its `unit.json` stands. A finished one is read, never run again; one that was interrupted is run
again over its record, and asks only for what is not there.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import dspy

from ...errors import ProgramFileError, RunDirectoryError
from ...programs.boundary import one_line
from ...programs.lm_state import save
from ...programs.loading import load
from ...programs.outages import outage_in
from ...programs.replacing import copied
from ...serving.caps import caps_of
from ...serving.meter import Meter, Usage
from ...serving.roles import Role
from ...serving.secrets import scrub
from ..result import bill_data, usage_data
from ..roles import RunLMs
from ..run_directory import RunDirectory
from .assignment import Assignment, Entrant
from .entrants import compiled

logger = logging.getLogger("drpo")

FORMAT = 1
"""Version of `unit.json`."""
_LONGEST = 500  # characters of a failure's message that are kept


@dataclass(frozen=True)
class Unit:
    """What is to be run."""

    entrant: Entrant
    """Who."""
    seed: int
    """With which luck."""
    settings: dict[str, Any]
    """With what, as it was solved from the budget before anything was paid for."""

    @property
    def name(self) -> str:
        """How it is called, also its folder."""
        return f"{self.entrant.name}-{self.seed}"


@dataclass(frozen=True)
class Ended:
    """What became of a unit."""

    unit: Unit
    """The unit."""
    program: dspy.Module | None
    """What it ended with; None if it failed."""
    told: dict[str, Any]
    """What `unit.json` says."""

    @property
    def failure(self) -> dict[str, str] | None:
        """Return `kind` and `message` of what it failed with, None if it did not."""
        failure: dict[str, str] | None = self.told["failure"]
        return failure

    @property
    def calls(self) -> int:
        """LM calls that were answered, over all roles."""
        return int(sum(self.told["lm_calls"].values()))


@dataclass(frozen=True)
class Course:
    """What all units of a comparison are run on."""

    student: dspy.Module
    """The program to improve."""
    trainset: tuple[dspy.Example, ...]
    """Examples that optimizers see."""
    lms: RunLMs
    """The LMs, not metered; their meter is that of the whole comparison."""
    budget: int
    """LM calls over all roles that an optimizer may make."""
    num_threads: int
    """Calls under way at once."""
    demos: tuple[Mapping[str, Any], ...] = ()
    """Demonstrations that the baseline `retrieved` shows."""
    directory: RunDirectory | None = None
    """Where it is written down; None: nowhere."""

    def assignment(self, unit: Unit | None, record: Any = None) -> Assignment:
        """Return what a unit is given, its calls counted by a meter of its own that is capped by the budget."""
        meter = Meter(caps_of({"max_lm_calls": self.budget}), whole=self.lms.meter, luck=False)
        lms = replace(self.lms, meter=meter).metered(record, timeout=self.lms.timeout, patience=self.lms.patience)
        seed = 0 if unit is None else unit.seed
        return Assignment(self.student, self.trainset, lms, self.budget, seed, self.num_threads, self.demos)


def run_unit(course: Course, unit: Unit) -> Ended:
    """Run a unit, or read what it ended with before.

    Raises:
        LMError: If an LM cannot be reached: that is nobody's failure, and ends the comparison.
        RunDirectoryError: If what it leaves behind cannot be written, or was damaged.
        BudgetExceededError: If a cap on the whole comparison is reached.
        KeyboardInterrupt: After Ctrl-C.
    """
    folder = f"units/{unit.name}"
    if course.directory is not None and (course.directory.path / folder / "unit.json").exists():
        return _read(course, course.directory, unit, folder)
    with ExitStack() as stack:
        record = None
        if course.directory is not None:
            record = course.directory.record(f"{folder}/calls.jsonl")
            stack.callback(record.close)
        assignment = course.assignment(unit, record)
        program, failure, found = None, None, None
        try:
            found = compiled(unit.entrant, assignment)
            program = _plain(found.ended.program, course.student)
            assignment.lms.meter.go_on()  # an optimizer may have hidden why
        except Exception as error:
            failure = _failure(error, assignment.lms.meter, unit)
    told = {
        "format": FORMAT,
        "entrant": unit.entrant.name,
        "seed": unit.seed,
        "failure": failure,
        "settings": unit.settings if found is None else found.settings,
        **usage_data(assignment.lms.meter),
        "stopped": None if found is None else found.stopped,
        "imputed": 0 if found is None else found.ended.imputed,
        "details": {} if found is None else {key: value for key, value in found.ended.details.items() if key != "bill"},
    }
    if course.directory is None:
        return Ended(unit, program, told)
    if program is not None:
        course.directory.replace(f"{folder}/program.json", partial(save, program))
    course.directory.write_json(f"{folder}/bill.json", bill_data(assignment.lms.meter, course.lms.models))
    course.directory.write_json(f"{folder}/unit.json", told)  # the last file: a unit that has it is finished
    # What is saved is what is judged, whether or not the comparison is interrupted in between.
    return Ended(unit, None if program is None else _saved(course, course.directory, folder), told)


def _failure(error: Exception, meter: Meter, unit: Unit) -> dict[str, str]:
    """Return what an optimizer failed with; raise what is not its failure."""
    meter.go_on()
    outage = outage_in(error)
    if outage is not None:
        scrub(outage)
        raise outage from None
    if isinstance(error, RunDirectoryError):
        raise error
    scrub(error)
    logger.warning(f"{unit.name} failed", exc_info=error)
    return {"kind": type(error).__name__, "message": one_line(str(error))[:_LONGEST]}


def _plain(program: dspy.Module, student: dspy.Module) -> dspy.Module:
    """Return a program whose predictors have the LMs of the student's, if any, in the place of the unit's."""
    own = {name: predictor.lm for name, predictor in student.named_predictors()}
    result = copied(program)
    for name, predictor in result.named_predictors():
        predictor.lm = own.get(name)
    return result


def _read(course: Course, directory: RunDirectory, unit: Unit, folder: str) -> Ended:
    """Return what a finished unit ended with, and count what it used."""
    told, bill = (_json(directory, f"{folder}/{name}") for name in ("unit.json", "bill.json"))
    try:
        if told["format"] != FORMAT:
            raise RunDirectoryError(
                f"{directory.path / folder / 'unit.json'}: has format {told['format']!r}, this version of drpo reads "
                f"{FORMAT}; use the version that wrote it"
            )
        names = Usage.__dataclass_fields__
        for role in Role:
            used = bill["roles"][role.value]
            course.lms.meter.add(role, Usage(**{name: used[name] for name in names}))
        program = None if told["failure"] is not None else _saved(course, directory, folder)
        return Ended(unit, program, told)
    except (KeyError, TypeError) as error:
        raise RunDirectoryError(
            f"{directory.path / folder}: its files are damaged ({error!r}); delete unit.json there to run it again "
            "over its record"
        ) from None


def _saved(course: Course, directory: RunDirectory, folder: str) -> dspy.Module:
    path = directory.path / folder / "program.json"
    try:
        return _plain(load(path, student=course.student), course.student)
    except ProgramFileError as error:
        raise RunDirectoryError(f"{error}; delete unit.json beside it to run it again over its record") from error


def _json(directory: RunDirectory, name: str) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads((directory.path / name).read_text(encoding="utf-8"))
        return data
    except (OSError, ValueError) as error:
        raise RunDirectoryError(
            f"{directory.path / name}: cannot be read ({error}); delete unit.json there to run it again over its record"
        ) from None
