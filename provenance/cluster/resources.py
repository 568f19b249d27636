"""What a task asks a cluster for: CPUs, a GPU, memory. What no node has would never run."""

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
class Resources:
    """What one task asks for, or one node has; ``memory`` in bytes."""

    cpus: int
    gpus: int = 0
    memory: int = 0


@dataclass(frozen=True)
class Capacity:
    """The most that one node has, of all nodes and of those with a GPU; None: none has one."""

    largest: Resources
    with_gpu: Resources | None

    @classmethod
    def of(cls, nodes: Iterable[Mapping[str, float]]) -> Capacity:
        """From the resources of each node, as Ray names them."""
        every = list(nodes)
        with_gpu = [node for node in every if node.get("GPU", 0) >= 1]
        return cls(_most(every), _most(with_gpu, 1) if with_gpu else None)


def _most(nodes: list[Mapping[str, float]], gpus: int = 0) -> Resources:
    cpus = max((int(node.get("CPU", 0)) for node in nodes), default=0)
    memory = max((int(node.get("memory", 0)) for node in nodes), default=0)
    return Resources(max(cpus, 1), gpus, memory)


@dataclass(frozen=True)
class Requests:
    """What each kind of task asks for, on a cluster of this capacity.

    ``device`` is the executor's: a task asks for a GPU where it could use one.
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

    def opening(self) -> Resources:
        """To find, digest, and perhaps make a model's files: its size is not known yet."""
        return self._capped(1, 0, gpu=self.device == "cuda")

    def running(self, models: Iterable[Checkpoint]) -> Resources:
        """To run these models at once: a GPU if there are any, else a CPU for each GiB of weights."""
        weights = sum(self._weights(model) for model in models)
        cpus = 1 if self._on_gpu else ceil(weights / GIB)
        return self._capped(cpus, weights + self.memory.working, gpu=self._on_gpu)

    def matching(self) -> Resources:
        """To compare what was captured: a CPU, unless the device asked for is a GPU."""
        return self._capped(1, self.memory.working, gpu=self.device == "cuda")

    @property
    def _on_gpu(self) -> bool:
        return self.device != "cpu" and self.capacity.with_gpu is not None

    def _weights(self, model: Checkpoint) -> int:
        """Bytes of a model's weights as it is run; what is above ``resident`` stays on disk."""
        dtype = model.spec.dtype
        is_half = self._on_gpu if dtype is None else dtype != "float32"
        size = model.parameters * (2 if is_half else 4)
        return size if self.memory.resident is None else min(size, self.memory.resident)

    def _capped(self, cpus: int, memory: int, *, gpu: bool) -> Resources:
        most = (self.capacity.with_gpu if gpu else None) or self.capacity.largest
        return Resources(min(max(cpus, 1), most.cpus), 1 if gpu else 0, min(memory, most.memory))
