pytest_plugins = ["fixtures.databases", "fixtures.models", "fixtures.pairs", "pytester"]
