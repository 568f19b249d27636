"""What models are asked: text or token ids, drawn by a seed.

* In: `vocabulary.InputsSpec` and a tokenizer.
* Out: token ids, and the digest that names them.
* Open `tokens` first, then `corpus`, then `encoded`, which feeds checkpoints.
"""
