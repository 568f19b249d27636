"""Reads parts of files that lie at the hub, at a URL or on disk: the byte ranges that are asked for.

::

    Origin      where files are: `hub_files`, `web_files`, `object_files`, `local_files`
    Span        some bytes of a file; `coalesced` makes few large ones of many near ones
    RangedFiles fetches spans side by side, keeps them in the store, and digests what was read

Of one origin all bytes are of one state of its files: a commit, or the ETag that was seen first.
"""
