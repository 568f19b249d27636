"""Quantized weights in safetensors: which stored tensors together are one weight, told from headers alone.

::

    tensors, settings --coded_weights--> CodedWeight: codes, and the scales that multiply them

A row of such a weight is a row of its codes and a few numbers of its scales. So it can be read alone, and
`provenance.loading.decode` makes numbers of it. Open `weights` first; `methods`, `float8` and `compressed`
know the names of each method, `parts` what must be there, and `grids` how a scale lies over its weight.
"""
