"""From the names and shapes of stored tensors to a model's MLPs, where no code of the model may run.

* In: the shape of every tensor by its name, hints of the configuration, and what a person said.
* Out: `structure.Structure`: the same `Trace` that following the data gives, and what was assumed for it.
* Open `structure` first. `numbered` sorts tensors into blocks, `words` knows what projections are called,
  `readings` finds MLPs in a block, `widths` tells rows from columns, `around` finds norms, embeddings and
  routers, and `declared` takes what a person said.
"""
