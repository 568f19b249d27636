"""From files to a model on a device, whole or a block at a time.

* In: a checkpoint and the device that was asked for.
* Out: a model, its skeleton on the meta device, or single parameters by the model's names.
* Open `model` first. `streaming` is for models larger than memory, `parameters` for weights alone.
"""
