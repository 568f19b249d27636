"""What models are asked: text or token ids, drawn by a seed.

* In: `vocabulary.InputsSpec` and a tokenizer.
* Out: token ids of one model, or of two with the positions that are compared, and the digest of these.
* Open `tokens` first, then `pairs`, then `encoded`, which feeds checkpoints.
"""
