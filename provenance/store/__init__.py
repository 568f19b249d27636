"""What was computed, kept by the digest of what it was computed from.

* In: a key (a digest of weights, inputs and code version) and how to make its entry.
* Out: the entry's folder, made once however many processes ask.
* Open `store` first, then `entry`. `shared` keeps entries at a URL as well.
"""
