pytest_plugins = [
    "fixtures.buckets",
    "fixtures.databases",
    "fixtures.models",
    "fixtures.pairs",
    "fixtures.recipes",
    "fixtures.pretrained.plugin",  # imports the one before it
    "pytester",
]
