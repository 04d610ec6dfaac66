import os

import pytest
import torch

from tests.conftest import CPU, tiny_generator, tiny_ws
from weights.catalog import EMBEDDED, catalog
from weights.encoder import Encoder
from weights.errors import InvalidFile, InvalidInput
from weights.formats import native
from weights.load import EMBEDDED_USUAL_LOSS, convert, load_generator
from weights.store import Store


def test_embedded_generator():
    generator = load_generator(EMBEDDED, device=CPU)
    assert (generator.size, generator.frame, generator.license) == (128, "ffhq", "CC-BY-NC-SA-4.0")
    assert generator.encoder is not None
    assert 0.3 < generator.spread < 1
    assert not any(p.requires_grad for p in generator.network.parameters())


def test_own_file_gives_the_same_pictures(tmp_path):
    network = tiny_generator(16, conv_clamp=256.0)
    path = tmp_path / "mine.safetensors"
    native.write(path, network.state_dict(), {"frame": "center", "conv_clamp": "256"})
    loaded = load_generator(path, device=CPU)
    assert (loaded.name, loaded.frame, loaded.encoder) == ("mine", "center", None)
    assert loaded.network.config == network.config
    ws = tiny_ws(network)
    assert torch.equal(loaded.network.synthesis(ws), network.synthesis(ws))


@pytest.mark.skipif(os.name != "posix", reason="of POSIX")
def test_an_own_file_may_be_read_by_whom_other_files_may(tmp_path):
    before = os.umask(0o027)
    try:
        native.write(tmp_path / "mine.safetensors", {"a": torch.zeros(3)}, {})
    finally:
        os.umask(before)
    assert (tmp_path / "mine.safetensors").stat().st_mode & 0o777 == 0o640


def test_the_frame_can_be_given(tmp_path):
    path = tmp_path / "mine.safetensors"
    native.write(path, tiny_generator(16).state_dict(), {})
    assert load_generator(path, device=CPU).frame == "center"
    assert load_generator(path, device=CPU, frame="ffhq").frame == "ffhq"


def test_a_file_of_the_catalogue_without_a_hash_is_known_by_name_and_by_path(tmp_path):
    store = Store(folder=tmp_path, offline=True)
    path = store.path("ffhq-256")
    assert catalog()["ffhq-256"].sha256 is None
    native.write(path, tiny_generator(16).state_dict(), {})
    for name in ("ffhq-256", path, str(path.parent / ".." / path.parent.name / path.name)):
        loaded = load_generator(name, device=CPU, store=store)
        assert (loaded.name, loaded.frame, loaded.license) == ("ffhq-256", "ffhq", catalog()["ffhq-256"].license)
    told = convert(path, tmp_path / "mine.safetensors", store=store)
    assert (told["frame"], told["license"]) == ("ffhq", catalog()["ffhq-256"].license)
    elsewhere = path.rename(tmp_path / path.name)
    assert load_generator(elsewhere, device=CPU, store=store).frame == "center"


def test_unknown_name():
    with pytest.raises(InvalidInput, match="'nobody'"):
        load_generator("nobody", device=CPU)


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"\xff" * 100, b"<html></html>"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    with pytest.raises(InvalidFile):
        load_generator(path, device=CPU)


def test_safetensors_of_something_else(tmp_path):
    path = tmp_path / "file.safetensors"
    native.write(path, {"a": torch.zeros(3)}, {})
    with pytest.raises(InvalidFile, match="no StyleGAN2 generator"):
        load_generator(path, device=CPU)


def test_unknown_frame_in_a_file(tmp_path):
    path = tmp_path / "file.safetensors"
    native.write(path, tiny_generator(16).state_dict(), {"frame": "oval"})
    with pytest.raises(InvalidFile, match="'oval'"):
        load_generator(path, device=CPU)


def test_a_conversion_brings_encoder_and_usual_loss(tmp_path):
    output, beside = tmp_path / "mine.safetensors", tmp_path / "mine-encoder.safetensors"
    beside.write_bytes(b"another's")
    with pytest.raises(InvalidInput, match=r"mine-encoder\.safetensors exists: give another path, or --overwrite"):
        convert(EMBEDDED, output)
    assert beside.read_bytes() == b"another's"
    assert not output.exists()
    told = convert(EMBEDDED, output, overwrite=True)
    assert told["encoder"] == str(beside)
    source, again = (load_generator(name, device=CPU) for name in (EMBEDDED, output))
    assert again.usual_loss == source.usual_loss == EMBEDDED_USUAL_LOSS
    picture = torch.rand(1, 3, 128, 128) * 2 - 1
    assert torch.equal(again.encoder(picture), source.encoder(picture))


def test_a_conversion_beside_its_source_keeps_the_encoder_there(tmp_path):
    first = tmp_path / "mine.safetensors"
    convert(EMBEDDED, first)
    other = first.rename(tmp_path / "mine.pt")  # a file is known by its content
    encoder = (tmp_path / "mine-encoder.safetensors").read_bytes()
    told = convert(other, first)
    assert told["encoder"] == str(tmp_path / "mine-encoder.safetensors")
    assert (tmp_path / "mine-encoder.safetensors").read_bytes() == encoder


def test_a_conversion_replaces_nothing_that_it_reads(tmp_path):
    path = tmp_path / "mine.safetensors"
    convert(EMBEDDED, path)
    data = path.read_bytes()
    for output in (path, tmp_path / "mine-encoder.safetensors"):
        with pytest.raises(InvalidInput, match="is what this command reads, which is never written over"):
            convert(path, output, overwrite=True)
    with pytest.raises(InvalidInput, match="is a file, and no folder can be there"):
        convert(EMBEDDED, path / "other.safetensors")
    assert path.read_bytes() == data


def small_encoder(w_dim=16):
    return Encoder({32: 8, 16: 8, 8: 8, 4: 8}, w_dim)


def test_a_conversion_of_what_has_no_encoder_leaves_none_of_another_one(tmp_path):
    first, second, output = (tmp_path / f"{name}.safetensors" for name in ("first", "second", "out"))
    native.write(first, tiny_generator(32).state_dict(), {})
    native.write(tmp_path / "first-encoder.safetensors", small_encoder().state_dict(), {})
    native.write(second, tiny_generator(32, seed=1).state_dict(), {})
    beside = tmp_path / "out-encoder.safetensors"
    assert convert(first, output)["encoder"] == str(beside)
    output.unlink()
    with pytest.raises(InvalidInput, match=r"out-encoder\.safetensors exists"):
        convert(second, output)
    assert convert(second, output, overwrite=True)["encoder"] == ""
    assert not beside.exists()
    assert load_generator(output, device=CPU).encoder is None


def test_an_encoder_that_is_another_generators_or_damaged(tmp_path):
    path, beside = tmp_path / "mine.safetensors", tmp_path / "mine-encoder.safetensors"
    native.write(path, tiny_generator(32).state_dict(), {})
    native.write(beside, small_encoder(24).state_dict(), {})
    with pytest.raises(InvalidFile, match="makes codes of 24 numbers, where the generator beside it takes 16"):
        load_generator(path, device=CPU)
    state = small_encoder().state_dict()
    native.write(beside, state | {"out.bias": torch.full((16,), torch.nan)}, {})
    with pytest.raises(InvalidFile, match="not finite"):
        load_generator(path, device=CPU)
    native.write(beside, state | {"out.weight": torch.zeros(0, 16)}, {})
    with pytest.raises(InvalidFile, match="holds no encoder"):
        load_generator(path, device=CPU)


@pytest.mark.parametrize("factor", [0.0, 1e30])
def test_a_generator_whose_codes_are_no_use(tmp_path, factor):
    state = {name: value.clone() for name, value in tiny_generator(16).state_dict().items()}
    for name in ("mapping.fc0.weight", "mapping.fc1.weight"):
        state[name] *= factor
    native.write(tmp_path / "mine.safetensors", state, {})
    with pytest.raises(InvalidFile, match="all its codes are one, or not finite"):
        load_generator(tmp_path / "mine.safetensors", device=CPU)


@pytest.mark.parametrize("columns", [8, 16])
def test_a_mapping_of_labels_alone(tmp_path, columns):
    state = tiny_generator(16, c_dim=3).state_dict()
    state["mapping.fc0.weight"] = state["mapping.fc0.weight"][:, :columns].clone()
    native.write(tmp_path / "mine.safetensors", state, {})
    with pytest.raises(InvalidFile, match=r"its z is -?[0-9]+ wide"):
        load_generator(tmp_path / "mine.safetensors", device=CPU)


def test_a_conversion_of_what_has_no_encoder(tmp_path):
    path = tmp_path / "mine.safetensors"
    native.write(path, tiny_generator(16).state_dict(), {})
    told = convert(path, tmp_path / "other.safetensors")
    assert told["encoder"] == ""
    assert "usual_loss" not in told
    assert sorted(file.name for file in tmp_path.iterdir()) == ["mine.safetensors", "other.safetensors"]
