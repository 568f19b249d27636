pytest_plugins = [
    "fixtures.buckets",
    "fixtures.databases",
    "fixtures.models",
    "fixtures.pairs",
    "fixtures.recipes",
    "pytester",
]
