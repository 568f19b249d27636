"""checkpoints/loaders/oci.py: models from a registry on 127.0.0.1, and registries that misbehave."""

import base64
import gzip
import hashlib
import io
import json
import sys
import tarfile
from dataclasses import dataclass, field

import pytest

from provenance.checkpoints.loaders.docker_login import credentials
from provenance.checkpoints.loaders.oci import LOADER
from provenance.vocabulary import ModelSpec
from tests.support.local_server import answering

WEIGHT = "application/vnd.cncf.model.weight.v1.raw"
CONFIG = "application/vnd.cncf.model.weight.config.v1.raw"
KIT = "application/vnd.kitops.modelkit.model.v1.tar+gzip"


def digest_of(data):
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Registry:
    """The repository ``org/tiny``: manifests by tag and digest, blobs by digest, and what it asks for."""

    manifests: dict = field(default_factory=dict)
    blobs: dict = field(default_factory=dict)
    host: str = ""
    asks: str = ""
    password: str = ""
    cdn: bool = False
    cuts: int = 0
    requests: list = field(default_factory=list)
    tokens: int = 0
    lasts: int = 10**6

    def push(self, layers, tag="1", **more):
        """Push a manifest of layers: (type, data, name or None)."""
        listed = []
        for kind, data, name in layers:
            self.blobs[digest_of(data)] = data
            layer = {"mediaType": kind, "digest": digest_of(data), "size": len(data)}
            listed.append(
                layer | ({"annotations": {"org.cncf.model.filepath": name}} if name else {})
            )
        self.put({"schemaVersion": 2, "layers": listed} | more, tag)

    def put(self, manifest, tag="1"):
        data = json.dumps(manifest).encode()
        self.manifests[tag] = self.manifests[digest_of(data)] = data
        return digest_of(data)

    def reply(self, path, headers):
        self.requests.append((path, headers.get("authorization", "")))
        if path.startswith("/token?"):
            return self._token(path, headers)
        if self.asks and not path.startswith("/cdn/") and not self._shown(headers):
            return 401, {"WWW-Authenticate": self.asks.format(host=self.host)}, b"{}"
        return self._content(*path.split("/")[-2:])

    def _token(self, path, headers):
        self.tokens += 1
        basic = base64.b64encode(f"me:{self.password}".encode()).decode()
        if self.password and headers.get("authorization") != f"Basic {basic}":
            return 401, {}, b"{}"
        assert "service=local" in path
        assert "scope=repository" in path
        return 200, {}, json.dumps({"token": f"t{self.tokens}"}).encode()

    def _content(self, kind, reference):
        if kind == "manifests" and reference in self.manifests:
            return 200, {}, self.manifests[reference]
        if kind == "blobs" and self.cdn:
            return 307, {"Location": f"http://localhost:{self.host[10:]}/cdn/{reference}"}, b""
        if kind in {"blobs", "cdn"} and reference in self.blobs:
            data = self.blobs[reference]
            if self.cuts:
                self.cuts -= 1
                return 200, {"Content-Length": str(len(data))}, data[: len(data) // 2]
            return 200, {}, data
        return 404, {}, b"{}"

    def _shown(self, headers):
        shown = headers.get("authorization", "")
        self.lasts -= 1
        if self.lasts == 0:
            return False
        return shown == f"Bearer t{self.tokens}" and self.tokens > 0


@pytest.fixture
def registry(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    found = Registry()
    with answering(found.reply) as host:
        found.host = host
        yield found


BEARER = 'Bearer realm="http://{host}/token",service="local",scope="repository:org/tiny:pull"'


def address(registry, tag="1"):
    return f"oci://{registry.host}/org/tiny:{tag}"


def raw(content):
    return [
        (CONFIG if name.endswith(".json") else WEIGHT, data, f"tiny/{name}")
        for name, data in content.items()
    ]


def packed(content, folder="tiny/", mode="w:gz"):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode=mode) as archive:
        for name, data in content.items():
            member = tarfile.TarInfo(f"{folder}{name}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return made.getvalue()


# what is brought


def test_a_modelpack_of_files_is_brought_without_what_is_not_needed(
    registry, content, opened, executor, base
):
    more = [
        ("application/vnd.cncf.model.dataset.v1.raw", b"rows", "data.csv"),
        ("application/vnd.cncf.model.doc.v1.raw", b"# x", "tiny/README.md"),
        ("application/vnd.cncf.model.code.v1.raw", b"1/0", "tiny/modeling.py"),
        (WEIGHT, b"optimizer", "tiny/optimizer.pt"),
    ]
    registry.push([*raw(content), *more])
    found = opened(address(registry))
    assert found.weights_digest == executor.checkpoint(ModelSpec(path=str(base))).weights_digest
    manifest = digest_of(registry.manifests["1"])
    assert found.source == f"oci://{registry.host}/org/tiny@{manifest}"
    asked = {path.rpartition("/")[2] for path, _ in registry.requests if "/blobs/" in path}
    assert asked.isdisjoint(digest_of(data) for _, data, _ in more)
    assert opened(found.source).digest == found.digest


@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_a_kit_in_tars_is_unpacked(registry, content, opened, executor, base, mode):
    kit = {f"deep/{name}": data for name, data in content.items()} | {"Kitfile": b"x"}
    kind = KIT if mode == "w:gz" else KIT.removesuffix("+gzip")
    registry.push(
        [
            (kind, packed(kit, mode=mode), None),
            ("application/vnd.kitops.modelkit.dataset.v1.tar+gzip", b"no tar", None),
        ]
    )
    found = opened(address(registry))
    assert found.weights_digest == executor.checkpoint(ModelSpec(path=str(base))).weights_digest


def test_a_tag_that_moves_is_brought_anew_and_a_digest_stays(registry, content, opened):
    registry.push(raw(content))
    first = opened(address(registry))
    registry.push(raw(content | {"model.safetensors": content["model.safetensors"]})[1:], tag="1")
    again = LOADER.look_up(ModelSpec(url=address(registry)))
    assert again.pinned != first.source
    assert LOADER.look_up(ModelSpec(url=first.source)).pinned == first.source


def test_an_index_of_one_manifest_is_that_one(registry, content):
    registry.push(raw(content), tag="x")
    registry.put({"manifests": [{"digest": digest_of(registry.manifests["x"])}]}, tag="1")
    found = LOADER.look_up(ModelSpec(url=address(registry)))
    assert found.pinned.endswith(digest_of(registry.manifests["x"]))


# tokens, redirects, breaks


def test_a_token_is_asked_for_and_asked_for_again_when_it_is_over(registry, content, opened):
    registry.asks = BEARER
    registry.push(raw(content))
    registry.lasts = 5
    assert opened(address(registry)).weights_digest
    assert registry.tokens == 3  # for the manifest, for the first layer, and once it was over


def test_a_password_that_docker_keeps_is_sent_for_a_token_and_to_no_other_host(
    registry, content, opened, refused, tmp_path
):
    registry.asks, registry.password, registry.cdn = BEARER, "secret", True
    registry.push(raw(content))
    refused(address(registry), "a token for org/tiny: access is refused")
    (tmp_path / "docker").mkdir()
    auth = base64.b64encode(b"me:secret").decode()
    said = {"auths": {registry.host: {"auth": auth}}}
    (tmp_path / "docker" / "config.json").write_text(json.dumps(said))
    registry.requests.clear()
    assert opened(address(registry)).weights_digest
    shown = {shown for path, shown in registry.requests if path.startswith("/cdn/")}
    assert shown == {""}


@pytest.mark.parametrize(
    ("asks", "message"),
    [
        ('Bearer realm="http://example.com/token"', "in a way that is not known"),
        ("Negotiate", "in a way that is not known"),
        ("Basic realm=x", "in a way that is not known"),
    ],
)
def test_credentials_are_asked_for_in_known_ways_alone(registry, content, refused, asks, message):
    registry.asks = asks
    registry.push(raw(content))
    refused(address(registry), message)


def test_what_breaks_off_begins_anew(registry, content, opened, refused):
    registry.push(raw(content))
    registry.cuts = 2
    assert opened(address(registry)).weights_digest
    registry.push([*raw(content), (CONFIG, b"{}", "tiny/generation_config.json")], tag="2")


# what misbehaves


def test_layers_of_other_bytes_than_their_digest_are_refused(registry, content, refused):
    registry.push(raw(content))
    digest = digest_of(content["model.safetensors"])
    registry.blobs[digest] = content["model.safetensors"][:-1] + b"x"
    refused(address(registry), "came damaged: its SHA-256 is not the one that was said")
    registry.blobs[digest] = content["model.safetensors"] + b"x"
    refused(address(registry), "is longer than the .* bytes that it should have")


def test_a_manifest_of_another_digest_is_refused(registry, content, refused):
    registry.push(raw(content))
    wrong = "sha256:" + "0" * 64
    registry.manifests[wrong] = registry.manifests["1"]
    refused(f"oci://{registry.host}/org/tiny@{wrong}", "the registry cannot be relied on")


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ([], "is no JSON object"),
        ({}, "has no layers; is it a model?"),
        ({"layers": []}, "has no layers"),
        ({"layers": [{"mediaType": WEIGHT, "digest": "sha256:x", "size": 1}]}, "it is damaged"),
        (
            {"layers": [{"mediaType": WEIGHT, "digest": "sha256:" + "a" * 64, "size": -1}]},
            "damaged",
        ),
        ({"layers": [3]}, "it is damaged"),
        ({"manifests": []}, "is an index of 0 manifests"),
        ({"manifests": [{"digest": "x"}, {"digest": "y"}]}, "is an index of 2 manifests: name one"),
        (
            {"layers": [{"mediaType": WEIGHT, "digest": "sha256:" + "a" * 64, "size": 1}]},
            "has no layer whose file has a name",
        ),
    ],
)
def test_a_manifest_that_is_no_models_is_refused(registry, refused, manifest, message):
    registry.put(manifest)
    refused(address(registry), message)


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "a/../../b", "a\nb"])
def test_a_file_outside_of_the_folder_is_refused(registry, content, refused, name):
    registry.push([*raw(content), (WEIGHT, b"x", name)])
    refused(address(registry), "is no place in a folder; it is refused")
    registry.push([(KIT, packed({name: b"x"}, folder=""), None)])
    refused(address(registry), "is no place in a folder|is no whole tar")


def test_links_in_a_tar_are_left_out(registry, content, opened, tmp_path):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        link = tarfile.TarInfo("tokenizer.json")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    registry.push([(KIT, packed(content, folder=""), None), (KIT, made.getvalue(), None)])
    found = opened(address(registry))
    assert not (found.folder / "tokenizer.json").exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no tar at all", "is no whole tar"),
        (gzip.compress(b"no tar at all" * 99), "is no whole tar"),
        (packed({"x": b"y" * 9999})[:-40], "is no whole tar"),
        (gzip.compress(b""), "is no whole tar|has no weights in it"),
        (packed({"README.md": b"x"}), "has no weights in it: neither safetensors nor GGUF"),
    ],
    # gzip writes the time, and two workers must name a test alike
    ids=["text", "text-in-gzip", "cut-off", "nothing-in-gzip", "no-weights"],
)
def test_a_layer_that_is_no_kit_is_refused(registry, refused, data, message):
    registry.push([(KIT, data, None)])
    refused(address(registry), message)


def test_a_tar_that_unpacks_to_far_more_is_refused(registry, refused, monkeypatch):
    monkeypatch.setattr("provenance.checkpoints.loaders.unpack.AT_LEAST", 1 << 16)
    registry.push([(KIT, packed({"model.safetensors": bytes(1 << 22)}), None)])
    refused(address(registry), "unpacks to far more bytes than it has; it is refused")


def test_a_header_that_would_fill_the_memory_is_refused(registry, refused, monkeypatch):
    monkeypatch.setattr("provenance.checkpoints.loaders.unpack.READ_LIMIT", 1 << 12)
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        member = tarfile.TarInfo("x")
        member.pax_headers = {"comment": "y" * (1 << 13)}
        archive.addfile(member)
    registry.push([(KIT, made.getvalue(), None)])
    refused(address(registry), "has a header of .* bytes; it is refused")


@pytest.mark.parametrize(
    "text",
    ["oci://{host}", "oci://{host}/", "oci://u:p@{host}/org/tiny", "oci://{host}/Org/tiny:1?x=y"],
)
def test_an_address_of_another_form_is_refused_without_its_password(registry, refused, text):
    refused(
        text.format(host=registry.host), "an address of a registry is oci://HOST/REPOSITORY:TAG"
    )


def test_what_is_not_there_is_said(registry, content, refused):
    registry.push(raw(content))
    refused(address(registry, "2"), "the manifest 2 is not there; check the address")
    del registry.blobs[digest_of(content["config.json"])]
    refused(address(registry), "the layer sha256:.* is not there")


def test_a_configuration_of_docker_that_is_none_is_a_line(registry, content, refused, tmp_path):
    registry.asks = BEARER
    registry.push(raw(content))
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text("{")
    refused(address(registry), "config.json cannot be read, for the password of 127.0.0.1")


# layers that are packed with zstd


@pytest.fixture
def zstd():
    """What packs with zstd, as Python 3.14 or zstandard has it."""
    try:
        from compression import zstd as own
    except ImportError:
        return pytest.importorskip("zstandard").compress
    return own.compress


ZSTD = KIT.replace("+gzip", "+zstd")


def test_layers_that_are_packed_with_zstd_are_unpacked(
    registry, content, opened, executor, base, zstd
):
    half = dict(list(content.items())[:1])
    rest = dict(list(content.items())[1:])
    frames = packed(rest, mode="w", folder="")
    data = zstd(frames[:1000]) + zstd(frames[1000:])  # frames follow each other as bytes do
    registry.push([(ZSTD, data, None), (ZSTD, zstd(packed(half, mode="w", folder="")), None)])
    found = opened(address(registry))
    assert found.weights_digest == executor.checkpoint(ModelSpec(path=str(base))).weights_digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-20], "is no whole (tar|frame of zstd)"),
        (lambda data: data[:40] + b"\xff" * 40 + data[80:], "is no whole (tar|frame of zstd)"),
        (lambda data: data[:4], "is no whole (tar|frame of zstd)"),
        (lambda _data: b"no frame at all", "is no whole tar"),
    ],
)
def test_a_damaged_frame_is_refused(registry, refused, zstd, change, message):
    data = zstd(packed({"model.safetensors": bytes(range(256)) * 99}, mode="w"))
    registry.push([(ZSTD, change(data), None)])
    refused(address(registry), message)


def test_a_frame_that_unpacks_to_far_more_is_refused(registry, refused, zstd, monkeypatch):
    monkeypatch.setattr("provenance.checkpoints.loaders.unpack.AT_LEAST", 1 << 16)
    registry.push([(ZSTD, zstd(bytes(1 << 22)), None)])
    refused(address(registry), "unpacks to far more bytes than it has; it is refused")


def test_a_frame_whose_window_would_fill_the_memory_is_refused(registry, refused, zstd):
    # the header of a frame with a window of 2 GiB, and one block of one byte, repeated
    frame = b"\x28\xb5\x2f\xfd" + bytes([0x00, (31 - 10) << 3]) + bytes([0x03, 0x00, 0x10, 0x41])
    registry.push([(ZSTD, frame, None)])
    refused(address(registry), "is no whole frame of zstd")
    assert zstd


def test_without_a_reader_of_zstd_nothing_is_brought(registry, content, refused, monkeypatch):
    for name in ("compression", "compression.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    registry.push([(ZSTD, b"x", None)])
    refused(address(registry), r"is packed with zstd, .*pip install 'pytest-provenance\[zstd\]'")
    assert not any("/blobs/" in path for path, _ in registry.requests)


# helpers that keep passwords


@pytest.fixture
def helper(registry, content, tmp_path, monkeypatch):
    """Put a credential helper on PATH, a shell script, and name it in docker's configuration."""
    registry.asks, registry.password = BEARER, "secret"
    registry.push(raw(content))

    def helper(script, configuration=None, name="kept"):
        place = tmp_path / "bin" / f"docker-credential-{name}"
        place.parent.mkdir(exist_ok=True)
        place.write_text(f"#!/bin/sh\n{script}\n")
        place.chmod(0o755)
        monkeypatch.setenv("PATH", f"{place.parent}:/usr/bin:/bin")
        said = {"credsStore": "kept"} if configuration is None else configuration
        (tmp_path / "docker").mkdir(exist_ok=True)
        (tmp_path / "docker" / "config.json").write_text(json.dumps(said))

    return helper


ANSWERS = """read host; echo "$1 $host" > {log}; echo '{{"Username": "me", "Secret": "secret"}}'"""


@pytest.mark.parametrize("how", ["credsStore", "credHelpers", "both"])
def test_a_helper_is_asked_for_the_password_of_the_host(registry, helper, opened, tmp_path, how):
    log = tmp_path / "log"
    said = {
        "credsStore": {"credsStore": "kept"},
        "credHelpers": {"credHelpers": {registry.host: "kept"}},
        "both": {"credsStore": "other", "credHelpers": {registry.host: "kept", "x": "y"}},
    }
    helper(ANSWERS.format(log=log), said[how])
    assert opened(address(registry)).weights_digest
    assert log.read_text() == f"get {registry.host}\n"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'x: credentials not found in native keychain'; exit 1", "a token .* is refused"),
        ("echo locked; exit 1", "docker-credential-kept gave no password of .*: locked"),
        (r"printf 'a\033[31mb'; exit 1", r"gave no password of .*: a⟨U\+001B⟩\[31mb"),
        ("exit 1", "gave no password of .*: it says nothing"),
        ("echo '{'", "answers with something else than the password of"),
        ("echo '[]'", "answers with something else"),
        ('echo \'{"Username": 3, "Secret": "x"}\'', "answers with something else"),
        ('echo \'{"Username": "", "Secret": ""}\'', "a token .* is refused"),
        ('echo \'{"Username": "<token>", "Secret": "x"}\'', "keeps an identity token of"),
        ("sleep 5", "gave no password of .* in 0.2 seconds"),
    ],
)
def test_a_helper_that_has_nothing_or_fails_is_a_line(
    registry, helper, refused, monkeypatch, script, message
):
    monkeypatch.setattr("provenance.checkpoints.loaders.docker_login.LONGEST", 0.2)
    helper(script if "sleep" in script else f"cat > /dev/null; {script}")
    if "sleep" not in script:
        monkeypatch.setattr("provenance.checkpoints.loaders.docker_login.LONGEST", 60.0)
    refused(address(registry), message)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"credsStore": "nowhere"}, "with docker-credential-nowhere, which is not on PATH"),
        ({"credsStore": "../../bin/sh"}, "is no name of a credential helper"),
        ({"credsStore": 3}, "is no name of a credential helper"),
        ({"credHelpers": ["x"]}, "cannot be read, .*: credHelpers is no JSON object"),
        ({"credHelpers": 3}, "credHelpers is no JSON object"),
        ([], "it is no JSON object"),
    ],
)
def test_a_configuration_that_names_no_helper_is_a_line(registry, helper, refused, said, message):
    helper("exit 1", said)
    refused(address(registry), message)


def test_the_hub_of_docker_is_asked_where_it_answers_by_the_login_to_it(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    auth = base64.b64encode(b"me:secret").decode()
    said = {"auths": {"https://index.docker.io/v1/": {"auth": auth}}}
    (tmp_path / "config.json").write_text(json.dumps(said))
    assert credentials("docker.io") == auth
    assert credentials("ghcr.io") is None


# what registries answer


@pytest.mark.parametrize("kind", ["manifests", "blobs"])
@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((401, {}, b""), r"access is refused \(401\)"),
        ((403, {}, b"{}"), r"access is refused \(403\)"),
        ((404, {}, b"{}"), "is not there; check the address"),
        ((410, {}, b"{}"), "the server answers 410; check the address"),
        ((429, {"Retry-After": "0"}, b""), "the server answers 429; try again later; 5 tries"),
        ((503, {}, b""), "the server answers 503"),
        ((307, {}, b""), "the server answers 307"),
        (
            (307, {"Location": "/v2/org/tiny/manifests/1"}, b""),
            "redirects|damaged|longer|broke off",
        ),
        ((307, {"Location": "http://[::1"}, b""), "cannot be reached|the server answers 307"),
        (
            (200, {"Content-Type": "text/html"}, b"<html>sign in"),
            "is no JSON|broke off after 13 of",
        ),
    ],
)
def test_each_answer_of_a_registry_is_a_line(
    registry, content, refused, monkeypatch, kind, answer, message
):
    registry.push(raw(content))
    real = registry._content
    monkeypatch.setattr(
        registry, "_content", lambda what, name: answer if what == kind else real(what, name)
    )
    refused(address(registry), message)


def test_a_body_that_trickles_is_given_up(registry, content, refused, monkeypatch):
    monkeypatch.setattr("provenance.checkpoints.loaders.web.STALLED", 1e-9)
    monkeypatch.setattr("provenance.checkpoints.loaders.web.TRICKLE", 10**18)
    registry.push(raw(content))
    refused(address(registry), "comes at less than 1.* bytes a second; 5 tries failed")
