"""Image data sets by name, their split, and the standardisation of their channels."""

from __future__ import annotations

from pathlib import Path

from sics_cli.base.errors import ConfigError
from sics_cli.settings.config import IMAGE_FOLDER
from sics_cli.tasks.images.cache import ImageSource
from sics_cli.tasks.images.folder import ImageFolder
from sics_cli.tasks.images.torchvision_sets import TORCHVISION, TorchvisionSource, default_data_dir

#: What `data.name` may be for images, as a message shows it.
IMAGE_NAMES = (*TORCHVISION, f"{IMAGE_FOLDER}PATH")


def is_image_data(name: str) -> bool:
    """Whether `name` is a data set of this module.

    >>> is_image_data("cifar10"), is_image_data("imagefolder:photos.tar"), is_image_data("digits")
    (True, True, False)
    """
    return name in TORCHVISION or name.startswith(IMAGE_FOLDER)


def image_source(
    name: str, *, data_dir: Path | None = None, download: bool = False, image_size: int | None = None
) -> ImageSource:
    """Give the source that `data.name` means."""
    if name.startswith(IMAGE_FOLDER):
        path = name.removeprefix(IMAGE_FOLDER)
        if not path:
            raise ConfigError(f"data.name = {name!r} is not accepted: give a folder or an archive, {IMAGE_FOLDER}PATH")
        if data_dir is not None or download:
            raise ConfigError(f"data.name = {name!r} says where the images are: --data-dir and --download are not for it")
        return ImageFolder(Path(path).expanduser(), image_size)
    if name not in TORCHVISION:
        raise ConfigError(f"data.name = {name!r} is not accepted: give {' | '.join(IMAGE_NAMES)}")
    if image_size is not None:
        raise ConfigError(f"data.image_size = {image_size} is for {IMAGE_FOLDER}PATH, not for {name}")
    return TorchvisionSource(name, (data_dir or default_data_dir()).expanduser(), download)
