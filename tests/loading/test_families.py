"""Which families can be run, known without importing what takes seconds."""

import subprocess
import sys
from dataclasses import replace

import pytest
from transformers import AutoConfig, LlamaConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from fixtures.models import tiny_llama
from provenance.loading.families import why_not_run
from tests.loading.test_parameters import saved


@pytest.fixture
def checkpoint(tmp_path):
    return saved(tiny_llama(), tmp_path)


def of_type(checkpoint, kind, **config):
    return replace(checkpoint, config={"model_type": kind, **config})


def test_every_type_of_transformers_is_known(checkpoint):
    assert all(why_not_run(of_type(checkpoint, kind)) is None for kind in CONFIG_MAPPING)


@pytest.mark.parametrize("kind", ["llama99", "auto", "blip_2", "../auto", "(", "llama\n", ""])
def test_what_is_no_type_of_transformers_is_not(checkpoint, kind):
    assert f"does not know model_type {kind!r}; upgrade it" in why_not_run(
        of_type(checkpoint, kind)
    )


def test_code_that_is_not_trusted_is_named_and_code_that_is_may_run(checkpoint):
    coded = of_type(checkpoint, "odd", auto_map={})
    assert "set trust_remote_code: true on this model" in why_not_run(coded)
    assert why_not_run(replace(coded, remote_code=True)) is None


def test_a_type_that_a_user_registers_is_known(checkpoint):
    class OddConfig(LlamaConfig):
        model_type = "odd-of-a-user"

    assert why_not_run(of_type(checkpoint, "odd-of-a-user")) is not None
    AutoConfig.register("odd-of-a-user", OddConfig)
    try:
        assert why_not_run(of_type(checkpoint, "odd-of-a-user")) is None
    finally:
        del CONFIG_MAPPING._extra_content["odd-of-a-user"]


def test_torch_is_not_imported_for_a_type_that_is_listed():
    code = (
        "import sys; from types import SimpleNamespace\n"
        "from provenance.loading.families import why_not_run\n"
        "one = SimpleNamespace(model_type='qwen3_moe', remote_code=False, bundle=None)\n"
        "assert why_not_run(one) is None\n"
        "assert not {'torch', 'transformers'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
