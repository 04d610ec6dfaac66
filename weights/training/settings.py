"""What can be set of a training. This module imports no torch: the command line reads its defaults."""

from dataclasses import dataclass
from typing import Literal

from weights.errors import InvalidInput

PerceptualName = Literal["vgg", "alex"]


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """The networks' shapes, which a run keeps once it has begun; only the sizes grow.

    Attributes:
        size: height and width of the pictures in pixels, a power of 2. More than the checkpoint's grows it.
        encoder_size: the encoder looks at pictures of this size; 0 for the checkpoint's, or else for the pictures' own
            up to 128 px.
        channel_base: a block of the generator has this many channels divided by its resolution, the encoder and the
            discriminator half as many.
        channel_max: but no more than this.
        z_dim: width of z.
        w_dim: width of w.
        mapping_layers: depth of the mapping network.
    """

    size: int = 128
    encoder_size: int = 0
    channel_base: int = 8192
    channel_max: int = 256
    z_dim: int = 64
    w_dim: int = 512
    mapping_layers: int = 2


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """How the pictures are drawn.

    Attributes:
        batch: pictures a step; best a multiple of 4.
        odds: FOLDER=FACTOR: pictures in folders of this name are drawn FACTOR times as often as others. Useful where
            many pictures show the same person.
        mirror: show half of the pictures as in a mirror.
        vary: show pictures a little turned, zoomed, and in other colours; 0 for never, 1 for up to 4 degrees, 5 % and
            20 %.
        seed: of all that is random.
    """

    batch: int = 16
    odds: tuple[str, ...] = ()
    mirror: bool = True
    vary: float = 1.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class LossSettings:
    """What is optimised, and how fast.

    Attributes:
        perceptual: the backbone of LPIPS. AlexNet's alone forgives artefacts; it is for quick trials.
        perceptual_size: LPIPS looks at windows of so many pixels, in turn of the whole picture made small, and of the
            picture at twice this size, and so on up to its own.
        pixel_weight: weight of the mean absolute error beside LPIPS.
        rate: learning rate of the generator, of Adam.
        encoder_rate: of the encoder.
        discriminator_rate: of the discriminator.
        adversarial: weight of the adversarial loss; 0 for an autoencoder alone. Where the discriminator's loss stays
            at 1.386 (ln 4) it has lost: lower this, or raise the discriminator's rate.
        adversarial_after: pictures seen before the adversarial loss comes in.
        ramp: pictures over which it comes in, there and after growing.
        r1: gamma of the R1 penalty on the discriminator's gradients; more for larger pictures.
        r1_every: steps from one R1 penalty to the next.
        new_alone: pictures after growing for which the generator's new blocks are trained alone, and without the
            adversarial loss, which comes in anew afterwards.
        average: half-life in pictures of the averages of the networks' weights, which are what is exported.
    """

    perceptual: PerceptualName = "vgg"
    perceptual_size: int = 64
    pixel_weight: float = 1.5
    rate: float = 0.002
    encoder_rate: float = 0.001
    discriminator_rate: float = 0.003
    adversarial: float = 0.3
    adversarial_after: int = 24_000
    ramp: int = 4_000
    r1: float = 0.3
    r1_every: int = 16
    new_alone: int = 0
    average: int = 5_000


@dataclass(frozen=True, kw_only=True)
class TrainingSettings(NetworkSettings, DataSettings, LossSettings):
    """All settings of a training run.

    Attributes:
        images: stop when so many pictures were seen in all; 0 for never.
        hours: stop after so many hours; 0 for never.
        save_minutes: minutes from one checkpoint, and line of metrics.jsonl, to the next.
        sheet_minutes: minutes from one sheet of pictures to the next.
        device: cpu, cuda, mps, or auto for the best that is there.
        dtype: of the convolutions; auto is bfloat16 where the CPU multiplies it natively.
        compile: compile the generator, which takes minutes at first and a C++ compiler.
        threads: of the CPU; 0 for as many as there are cores.
    """

    images: int = 0
    hours: float = 0.0
    save_minutes: float = 10.0
    sheet_minutes: float = 30.0
    device: str = "auto"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False
    threads: int = 0


def check(settings: TrainingSettings) -> None:
    """Make sure that the settings make sense by themselves.

    Raises:
        InvalidInput: one of them does not.
    """
    size = settings.size
    for name, value in (("size", size), ("encoder-size", settings.encoder_size or size)):
        if not 8 <= value <= size or value & (value - 1):
            raise InvalidInput(f"--{name} is a power of 2 from 8 up to the pictures' size, like 128, not {value}.")
    for name in ("batch", "channel_base", "channel_max", "z_dim", "w_dim", "mapping_layers", "perceptual_size"):
        if getattr(settings, name) < 1:
            raise InvalidInput(f"--{name.replace('_', '-')} is 1 or more, not {getattr(settings, name)}.")
    if settings.r1_every < 1 or settings.average < 1:
        raise InvalidInput("--r1-every and --average are 1 or more.")
    if not 0 <= settings.vary <= 1:
        raise InvalidInput(f"--vary is from 0 to 1, not {settings.vary}.")


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What an exported generator says of itself, and how its mapping network is fitted.

    Attributes:
        name: of the files: NAME.safetensors and NAME-encoder.safetensors; without it, faces-SIZE.
        frame: how the pictures were cut: ffhq by a face's landmarks, center for the largest centred square.
        license: SPDX expression or words.
        source: what it was trained on.
        usual_loss: which 19 of 20 pictures stay below when they are inverted, where it was measured.
        fit_steps: steps of the mapping network's fit to the codes.
        seed: of the fit.
        overwrite: replace files that exist.
    """

    name: str = ""
    frame: Literal["ffhq", "center"] = "center"
    license: str = ""
    source: str = ""
    usual_loss: float | None = None
    fit_steps: int = 600
    seed: int = 0
    overwrite: bool = False
