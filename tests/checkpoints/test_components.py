"""Which tensors are a component, by their names alone."""

import pytest

from provenance.checkpoints.components import configuration_of, prefix_of
from provenance.errors import SourceError

LLAVA = (
    "model.vision_tower.vision_model.encoder.layers.0.mlp.fc1.weight",
    "model.multi_modal_projector.linear_1.weight",
    "model.language_model.layers.0.mlp.up_proj.weight",
)
QWEN = (
    "visual.blocks.0.mlp.fc1.weight",
    "visual.merger.mlp.0.weight",
    "model.layers.0.mlp.up.weight",
)
CLIP = (
    "vision_model.encoder.layers.0.mlp.fc1.weight",
    "text_model.encoder.layers.0.mlp.fc1.weight",
    "visual_projection.weight",
)
T5 = ("shared.weight", "encoder.block.0.wi.weight", "decoder.block.0.wi.weight")
VIT = ("embeddings.patch_embeddings.projection.weight", "encoder.layer.0.output.dense.weight")
AUDIO = ("model.audio_tower.layers.0.fc1.weight", "model.image_newline", "model.layers.0.up.weight")


@pytest.mark.parametrize(
    ("component", "names", "prefix"),
    [
        ("vision", LLAVA, "model.vision_tower."),
        ("projector", LLAVA, "model.multi_modal_projector."),
        ("model.vision_tower.vision_model", LLAVA, "model.vision_tower.vision_model."),
        ("model.vision_tower.", LLAVA, "model.vision_tower."),
        ("vision", QWEN, "visual."),
        ("projector", QWEN, "visual.merger."),
        ("vision", CLIP, "vision_model."),
        ("encoder", T5, "encoder."),
        ("decoder", T5, "decoder."),
        ("audio", AUDIO, "model.audio_tower."),
        ("vision", VIT, ""),
        ("encoder", ("layers.0.mlp.Wi.weight",), ""),
    ],
)
def test_a_component_is_known_by_its_name(component, names, prefix):
    assert prefix_of(component, names, {}, "m") == prefix


@pytest.mark.parametrize(
    ("component", "names", "config", "message"),
    [
        (
            "audio",
            LLAVA,
            {},
            "m has no component 'audio': its tensors begin with model.language_model",
        ),
        ("visoin", LLAVA, {}, "did you mean 'vision'?"),
        ("vision_tower", LLAVA, {}, "has no component 'vision_tower'"),
        ("vision", T5, {"vocab_size": 9}, "has no component 'vision'"),
        (
            "encoder",
            ("model.layers.0.up.weight",),
            {"architectures": ["XForCausalLM"]},
            "has no comp",
        ),
        ("projector", VIT, {}, "has no component 'projector'"),
        (
            "vision",
            ("a.vision_tower.layers.0.w", "b.vision_model.layers.0.w"),
            {},
            "its vision could be 'a.vision_tower', 'b.vision_model': give one of these instead",
        ),
    ],
)
def test_what_is_not_there_or_several_is_refused_in_a_line(component, names, config, message):
    with pytest.raises(SourceError) as refused:
        prefix_of(component, names, config, "m")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_hears_in_an_encoder_decoder_is_its_encoder():
    whisper = tuple(f"model.{name}" for name in T5)
    assert (
        prefix_of("audio", whisper, {"num_mel_bins": 80, "vocab_size": 9}, "m") == "model.encoder."
    )
    with pytest.raises(SourceError, match="has no component 'audio'"):
        prefix_of("audio", whisper, {"vocab_size": 9}, "m")


def test_a_component_has_its_own_configuration():
    whole = {"model_type": "llava", "vision_config": {"model_type": "siglip", "hidden_size": 8}}
    assert configuration_of("vision", whole) == {"model_type": "siglip", "hidden_size": 8}
    assert configuration_of("a.path", whole) == {"model_type": "llava"}
