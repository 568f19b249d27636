"""What a task asks a cluster for: CPUs, a GPU, memory; what no node has would never run."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from provenance.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.vocabulary import Memory

GIB = 1 << 30


@dataclass(frozen=True)
class Needs:
    """Of one task; ``memory`` in bytes."""

    cpus: int
    gpus: int = 0
    memory: int = 0


@dataclass(frozen=True)
class Capacity:
    """The most that one node has, of all nodes and of those with a GPU; None: none has one."""

    largest: Needs
    with_gpu: Needs | None

    @classmethod
    def of(cls, nodes: Iterable[Mapping[str, float]]) -> Capacity:
        """From the resources of each node, as Ray names them."""
        found = list(nodes)
        gpus = [node for node in found if node.get("GPU", 0) >= 1]
        return cls(_most(found), _most(gpus, 1) if gpus else None)


def _most(nodes: list[Mapping[str, float]], gpus: int = 0) -> Needs:
    cpus = max((int(node.get("CPU", 0)) for node in nodes), default=0)
    return Needs(max(cpus, 1), gpus, max((int(node.get("memory", 0)) for node in nodes), default=0))


@dataclass(frozen=True)
class Rules:
    """What each kind of task asks for, on a cluster of this capacity.

    ``device`` is what was asked of the executor: a task asks for a GPU where it could use one.
    """

    capacity: Capacity
    device: str
    memory: Memory

    def __post_init__(self) -> None:
        if self.device.startswith("cuda:"):
            raise DeviceError(
                f"device {self.device!r}: on a cluster Ray chooses the GPU; use auto, cpu or cuda"
            )
        if self.device == "cuda" and self.capacity.with_gpu is None:
            raise DeviceError("device 'cuda' was asked for and no node of the cluster has a GPU")

    def opening(self) -> Needs:
        """A model whose files are found, digested, perhaps made: its size is not known yet."""
        return self._capped(1, 0, gpu=self.device == "cuda")

    def running(self, models: Iterable[Checkpoint]) -> Needs:
        """These models run at once: a GPU if there are any, else a CPU for each GiB of weights."""
        weights = sum(self._weights(model) for model in models)
        gpu = self.device != "cpu" and self.capacity.with_gpu is not None
        cpus = 1 if gpu else ceil(weights / GIB)
        return self._capped(cpus, weights + self.memory.working, gpu=gpu)

    def matching(self) -> Needs:
        """A comparison of what was captured: a CPU, unless the device asked for is a GPU."""
        return self._capped(1, self.memory.working, gpu=self.device == "cuda")

    def _weights(self, model: Checkpoint) -> int:
        """Bytes of a model's weights as it is run; what is above ``resident`` stays on disk."""
        half = self.device != "cpu" and self.capacity.with_gpu is not None
        narrow = half if model.spec.dtype is None else model.spec.dtype != "float32"
        size = model.parameters * (2 if narrow else 4)
        return size if self.memory.resident is None else min(size, self.memory.resident)

    def _capped(self, cpus: int, memory: int, *, gpu: bool) -> Needs:
        most = (self.capacity.with_gpu if gpu else None) or self.capacity.largest
        return Needs(min(max(cpus, 1), most.cpus), 1 if gpu else 0, min(memory, most.memory))
