"""What was computed, kept by the digest of what it was computed from.

* In: a key, such as digests of weights and inputs and a code version, and a function that builds the entry.
* Out: the entry's folder, made once however many processes ask.
* Open `store` first, then `entry` and `files`. `shared` keeps entries at a URL as well.
"""
