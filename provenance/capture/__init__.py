"""One forward pass to what every MLP of a model is fed.

* In: a loaded model and encoded inputs.
* Out: a file of activations in the store, and from it the units of any block.
* Open `run` first, then `forward` and `file`, then `units`. `proxies` gives gated imitations of MLPs.
"""
