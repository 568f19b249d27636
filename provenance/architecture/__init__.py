"""From a model to its MLPs, found by following data and never by names.

* In: a model (`torch.nn.Module`), often on the meta device.
* Out: `records.Trace`: each block's MLPs, and where their gate, up and down rows lie.
* Open `find` first, then `trace`. `dataflow`, `tags` and `roles` serve the trace;
  `collect` gathers its MLPs.
"""
