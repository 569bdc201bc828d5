# SPDX-License-Identifier: MIT
"""Compiles prepared configurations in a thread beside the loop, one by one; XLA lets the interpreter go meanwhile."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import numpy as np

from ..config.model import from_canonical_bytes
from ..predictor import program_for, structure_of
from ..schemas.records import ConfigDecision
from .rollout import Compile, Compiled

DETAIL_LENGTH = 2000


class ProgramCompiler:
    """Executes `Compile`: starts once per proposal, answers when it is done, and gives the same answer again."""

    def __init__(self) -> None:
        self.worker = ThreadPoolExecutor(1, "compiler")
        self.jobs: dict[str, Future[Compiled]] = {}

    def compile(self, effect: Compile) -> Sequence[Compiled]:
        """The answer, nothing while it is being compiled."""
        name = effect.prepare.proposal_id
        if name not in self.jobs:
            self.jobs = {n: job for n, job in self.jobs.items() if not job.done()}
            self.jobs[name] = self.worker.submit(compiled, effect.prepare)
        job = self.jobs[name]
        return (job.result(),) if job.done() else ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        """What is being compiled is of no use any more; it is not waited for."""
        self.worker.shutdown(wait=False, cancel_futures=True)


def compiled(prepare: ConfigDecision) -> Compiled:
    """Compile every program that the configuration names. Whatever fails is a NACK: the loop goes on as it is."""
    try:
        config = from_canonical_bytes(prepare.config or b"")
        if config.content_hash != prepare.config_hash:
            raise ValueError(f"its hash was {config.content_hash}, expected {prepare.config_hash}")
        structures = {structure_of(config, symbol) for symbol in ("", *config.symbols)}
        for structure in structures:
            program = program_for(structure)
            program.warm_up(np.zeros((program.param_count, program.lane_width)))
    except Exception as fault:  # a configuration may break the compiler in any way
        return Compiled(prepare.proposal_id, False, f"{type(fault).__name__}: {fault}"[:DETAIL_LENGTH])
    return Compiled(prepare.proposal_id, True, f"{len(structures)} programs compiled")
