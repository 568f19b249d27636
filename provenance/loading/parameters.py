"""Reads any parameter of a model by the model's own name for it, however the files name and cut it.

::

    direct    a tensor of that name is in the files, and nothing of transformers' would change it
    indexed   transformers' renamings and conversions, run over the names of all stored tensors

The direct way needs no model; the other one builds its skeleton, once.
"""

from __future__ import annotations

from copy import deepcopy
from functools import cached_property, partial
from threading import Lock
from typing import TYPE_CHECKING, Any

from provenance._quiet import quiet
from provenance.checkpoints.safetensors_header import PLAIN
from provenance.errors import SourceError, one_line
from provenance.loading.lazy_tensors import LazyTensors
from provenance.loading.renamings import ParameterIndex, name_rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch
    from torch import nn

    from provenance.checkpoints.checkpoint import Checkpoint
    from provenance.loading.renamings import Conversion, NameRules


KEPT = 2
"""Conversions whose results are kept."""


class ModelTensors:
    """The parameters of a checkpoint's model by the model's names, each as transformers would load it.

    The results of the last two conversions are kept, since all experts of a block ask for the same two
    tensors in turn: of gate and up, and of down. So a returned tensor must not be written to. Nothing else
    is kept.

    Parameters
    ----------
    checkpoint : Checkpoint
        A verified folder.
    skeleton : Module, optional
        The checkpoint's model on the meta device (`provenance.loading.model.load_skeleton`). None: it is
        built for the first parameter that the files do not hold under its name.
    stored : Mapping, optional
        The stored tensors that are known to be parameters as they are, by the parameters' names. Only for
        others is transformers asked.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        skeleton: nn.Module | None = None,
        stored: Mapping[str, str] | None = None,
    ) -> None:
        self._checkpoint = checkpoint
        self._tensors = LazyTensors(checkpoint)
        self._skeleton = skeleton
        self._stored = stored or {}
        self._converting = Lock()  # a conversion takes much memory: one at a time
        self._last: list[tuple[Conversion, dict[str, torch.Tensor]]] = []

    def read(self, parameter: str) -> torch.Tensor:
        """The parameter, in its stored dtype, on the CPU.

        On the indexed way its shape is compared with the skeleton's.

        Raises
        ------
        SourceError
            The files do not have it, or in another shape than the configuration's, or as codes of a
            quantization; or the skeleton is needed and cannot be built.
        """
        stored = self._stored.get(parameter) or self._direct(parameter)
        if stored is not None:
            return self._tensors[stored]
        with self._converting:
            name = self._indexed(parameter)
            conversion = self._index.conversions[name]
            self._refuse_codes(parameter, conversion)
            tensor = self._made(conversion).get(name)
        if tensor is None:
            raise self._missing(parameter)
        wanted = self._index.shapes[name]
        if tuple(tensor.shape) != wanted:
            raise SourceError(
                f"{self._checkpoint.source}: {parameter} is {list(tensor.shape)}, not {list(wanted)}"
            )
        return tensor

    __call__ = read

    def shape(self, parameter: str) -> tuple[int, ...]:
        """The shape of a parameter; nothing is read where the files hold it as it is."""
        stored = self._stored.get(parameter) or self._direct(parameter)
        if stored is None:
            return tuple(self.read(parameter).shape)
        return self._checkpoint.tensors[stored].shape

    def other_shapes(
        self, wanted: Mapping[str, tuple[int, ...]]
    ) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
        """Of parameters that the files hold as they are, those of another shape: name, theirs, wanted.

        Headers tell; no tensor is read. `read` compares the others, and codes of a quantization.
        """
        found = []
        for parameter, shape in wanted.items():
            stored = self._direct(parameter)
            info = None if stored is None else self._checkpoint.tensors[stored]
            if info is not None and info.dtype in PLAIN and info.shape != shape:
                found.append((parameter, info.shape, shape))
        return found

    def rows(self, parameter: str, indices: Sequence[int]) -> torch.Tensor:
        """Some rows of a parameter of two axes, in its stored dtype; raises as `read`."""
        stored = self._stored.get(parameter) or self._direct(parameter)
        if stored is None:
            return self.read(parameter)[list(indices)]
        return self._tensors.rows(stored, indices)

    @cached_property
    def _rules(self) -> NameRules | None:
        # a skeleton that is there tells all of it, and for sure
        return None if self._skeleton is not None else name_rules(self._checkpoint)

    @cached_property
    def _index(self) -> ParameterIndex:
        if self._skeleton is None:
            from provenance.loading.model import load_skeleton

            self._skeleton = load_skeleton(self._checkpoint)
        with quiet():
            return ParameterIndex.of(self._skeleton, self._tensors)

    def _direct(self, parameter: str) -> str | None:
        """The stored tensor that is the parameter as it is, where that is sure without a skeleton."""
        if self._rules is None:
            return None
        stored = parameter
        if self._is_base_model:
            stored = parameter.removeprefix(f"{self._rules.prefix}.")
        # not of the lazy tensors, which would read it to say so
        is_there = stored in self._checkpoint.tensors
        return stored if is_there and not self._rules.may_change(stored) else None

    @cached_property
    def _is_base_model(self) -> bool:
        """Whether the files lack the prefix that a model with a head puts before its base model."""
        prefix = "" if self._rules is None else self._rules.prefix
        return bool(prefix) and not any(name.startswith(f"{prefix}.") for name in self._tensors)

    def _indexed(self, parameter: str) -> str:
        name = self._index.name_of(parameter)
        if name is None:
            raise self._missing(parameter)
        return name

    def _missing(self, parameter: str) -> SourceError:
        return SourceError(
            f"{self._checkpoint.source}: the files have no tensor that parameter '{parameter}' of the "
            "model could be made of"
        )

    def _refuse_codes(self, parameter: str, conversion: Conversion) -> None:
        if not self._checkpoint.config.get("quantization_config"):
            return
        codes = {self._checkpoint.tensors[name].dtype for name, _ in conversion.sources} - PLAIN
        if codes:
            raise SourceError(
                f"{self._checkpoint.source}: {parameter} is quantized ({', '.join(sorted(codes))}); "
                "dequantize the checkpoint first"
            )

    def _made(self, conversion: Conversion) -> dict[str, torch.Tensor]:
        """The parameters that come of stored tensors, by the model's names."""
        if conversion.converter is None:
            return {conversion.target: self._tensors[conversion.sources[0][0]]}
        for kept, made in self._last:
            if kept is conversion:
                return made
        del self._last[: len(self._last) + 1 - KEPT]  # the oldest goes before there is a new one
        made = self._converted(conversion)
        self._last.append((conversion, made))
        return made

    def _converted(self, conversion: Conversion) -> dict[str, torch.Tensor]:
        # a converter is used up by what is added to it
        converter = deepcopy(conversion.converter)
        for name, pattern in conversion.sources:
            converter.add_tensor(conversion.target, name, pattern, partial(self._tensors.get, name))
        model: Any = self._skeleton
        try:
            with quiet():
                made = converter.convert(conversion.target, model=model, config=model.config)
        # an operation on tensors that do not fit together raises whatever torch does
        except Exception as error:
            raise SourceError(
                f"{self._checkpoint.source}: {conversion.target} cannot be made of the files' tensors "
                f"({type(error).__name__}: {one_line(error)})"
            ) from error
        # the first transformers 5 return what went wrong, too
        tensors = made[0] if isinstance(made, tuple) else made
        return {
            name: value[0] if isinstance(value, list) else value for name, value in tensors.items()
        }
