"""The site, built once for the tests that look at it."""

import pytest

from tests.support.places import ROOT


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    pytest.importorskip("material", reason="pip install '.[docs]' builds the site")
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
        config.plugins.on_shutdown()
    return folder
