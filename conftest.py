pytest_plugins = ["fixtures.models", "pytester"]
