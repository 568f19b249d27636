"""From a reference that a person wrote to the files of a checkpoint, verified and digested.

* In: `vocabulary.ModelSpec`: a folder, a repository at a revision, a URL, a recipe.
* Out: `checkpoint.Checkpoint`: a folder, its configuration, its tensors' headers and its digest.
* Open `checkpoint` first, then `contents.inspect`. `hub` and `urls` download what is elsewhere.
"""
