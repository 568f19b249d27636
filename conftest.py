pytest_plugins = ["fixtures.models", "fixtures.pairs", "pytester"]
