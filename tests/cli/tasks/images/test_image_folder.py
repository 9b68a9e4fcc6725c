"""`imagefolder:PATH`: layouts, folders and archives, and everything that may be wrong with them."""

import gzip
import io
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sics_cli.base.errors import ConfigError, DataError, StorageError
from sics_cli.tasks.images import archive, folder
from sics_cli.tasks.images.cache import cache_path, image_facts, load_images
from sics_cli.tasks.images.folder import ImageFolder, lay_out

SPLIT = [f"{part}/{name}/{number}.png" for part in ("train", "test") for name in ("cat", "ant", "bee") for number in (0, 1)]
FLAT = [f"{name}/{number}.png" for name in ("b", "a", "c") for number in (10, 9)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "sics" / "images"


def picture(value: int, *, mode: str = "RGB", size: tuple[int, int] = (5, 4), kind: str = "PNG") -> bytes:
    """A picture whose first pixel is `value` in all channels, the others random but fixed by it."""
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], len(mode))
    pixels = np.random.default_rng(value).integers(0, 256, shape, dtype=np.uint8)
    pixels[0, 0] = value
    out = io.BytesIO()
    Image.fromarray(pixels, mode=None).save(out, kind)
    return out.getvalue()


def files_of(names: list[str]) -> dict[str, bytes]:
    return {name: picture(value) for value, name in enumerate(names)}


def write_folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def member(name: str, data: bytes = b"", **facts: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in facts.items():
        setattr(info, key, value)
    return info, data


def write_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    mode = {".gz": "w:gz", ".tgz": "w:gz", ".xz": "w:xz", ".tar": "w"}[path.suffix]
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return path


def tar_of(path: Path, files: dict[str, bytes]) -> Path:
    return write_tar(path, [member(name, data) for name, data in files.items()])


# -- what is read -----------------------------------------------------------------------------------------------------


def test_two_parts_become_sorted_classes_and_examples(tmp_path: Path) -> None:
    files = files_of(SPLIT)
    arrays = load_images(ImageFolder(write_folder(tmp_path / "images", files)))
    assert arrays.facts.classes == ("ant", "bee", "cat")
    assert (arrays.facts.train, arrays.facts.shape) == (6, (12, 3, 4, 5))
    assert arrays.labels.tolist() == [0, 0, 1, 1, 2, 2] * 2
    order = sorted(SPLIT, key=lambda name: (name.startswith("test"), name))
    assert arrays.images[:, 0, 0, 0].tolist() == [SPLIT.index(name) for name in order]
    for image, name in zip(arrays.images, order, strict=True):  # every pixel, through Pillow's own eyes
        assert np.array_equal(image.transpose(1, 2, 0), np.asarray(Image.open(io.BytesIO(files[name]))))


def test_one_level_has_no_parts(tmp_path: Path) -> None:
    facts = image_facts(ImageFolder(write_folder(tmp_path / "images", files_of(FLAT))))
    assert (facts.classes, facts.train, facts.size) == (("a", "b", "c"), None, 6)


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tgz", ".tar.xz"])
@pytest.mark.parametrize("outer", ["", "./", "archive/", "a/b/"])
def test_an_archive_gives_what_its_folder_gives(tmp_path: Path, suffix: str, outer: str) -> None:
    files = files_of(SPLIT)
    folder = load_images(ImageFolder(write_folder(tmp_path / "images", files)))
    shuffled = {outer + name: files[name] for name in np.random.default_rng(0).permutation(SPLIT)}
    if outer:
        shuffled[outer + "README.txt"] = b"read me"
    archive = load_images(ImageFolder(tar_of(tmp_path / f"images{suffix}", shuffled)))
    assert archive.facts == folder.facts, "the digest too: it is of the content, not of where it lay"
    assert np.array_equal(archive.images, folder.images)


def test_nothing_stays_unpacked(tmp_path: Path, cache: Path) -> None:
    source = ImageFolder(tar_of(tmp_path / "images.tar.xz", files_of(SPLIT)))
    load_images(source)
    assert {path.name for path in tmp_path.iterdir()} == {"images.tar.xz", "cache"}
    assert sorted(path.suffix for path in cache.iterdir()) == [".lock", ".npy"]


def test_what_a_killed_process_unpacked_is_removed(tmp_path: Path, cache: Path) -> None:
    source = ImageFolder(tar_of(tmp_path / "images.tar", files_of(SPLIT)))
    write_folder(cache / f".partial-unpacked-{cache_path(source.key()).name}", {"train/ant/left.png": picture(7)})
    assert image_facts(source).size == len(SPLIT)
    assert not list(cache.glob(".partial*"))


def test_an_archive_that_the_disk_has_no_room_for(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ImageFolder(tar_of(tmp_path / "images.tar", files_of(SPLIT)))
    usage = archive.shutil.disk_usage(".")
    monkeypatch.setattr(archive.shutil, "disk_usage", lambda path: usage._replace(free=200))
    with pytest.raises(StorageError, match=r"has no room to unpack imagefolder:.*XDG_CACHE_HOME chooses another"):
        image_facts(source)
    assert not list(cache.glob(".partial*"))


def test_what_desktops_leave_behind_is_passed_over(tmp_path: Path) -> None:
    files = files_of(FLAT)
    plain = image_facts(ImageFolder(write_folder(tmp_path / "plain", files)))
    litter = {"a/.DS_Store": b"x", "a/._9.png": b"x", ".hidden/1.png": b"x", "__MACOSX/a/9.png": b"x", "LICENSE": b"x"}
    assert image_facts(ImageFolder(write_folder(tmp_path / "littered", files | litter))) == plain
    assert image_facts(ImageFolder(tar_of(tmp_path / "littered.tar", files | litter))) == plain


def test_grey_stays_one_channel_and_a_mixture_is_colour(tmp_path: Path) -> None:
    grey = {name: picture(value, mode="L") for value, name in enumerate(FLAT)}
    arrays = load_images(ImageFolder(write_folder(tmp_path / "grey", grey)))
    assert arrays.facts.shape == (6, 1, 4, 5)
    assert arrays.images[:, 0, 0, 0].tolist() == [FLAT.index(name) for name in sorted(FLAT)]
    mixed = load_images(ImageFolder(write_folder(tmp_path / "mixed", grey | {"c/9.png": picture(77)})))
    assert mixed.facts.shape == (6, 3, 4, 5)
    assert np.array_equal(mixed.images[0], np.repeat(arrays.images[0], 3, axis=0))


def test_image_size_scales_and_is_another_cache(tmp_path: Path) -> None:
    files = files_of(FLAT) | {"a/9.png": picture(1, size=(9, 7))}
    root = write_folder(tmp_path / "images", files)
    scaled = load_images(ImageFolder(root, image_size=3))
    assert scaled.facts.shape == (6, 3, 3, 3)
    constant = write_folder(tmp_path / "constant", {name: solid(80, (8, 6)) for name in FLAT})
    assert set(np.unique(load_images(ImageFolder(constant, image_size=4)).images)) == {80}
    assert ImageFolder(root, image_size=3).key() != ImageFolder(root, image_size=4).key()
    with pytest.raises(ConfigError, match=r"data.image_size = 0 is not accepted: give pixels from 1 to 1024"):
        ImageFolder(root, image_size=0)


def solid(value: int, size: tuple[int, int]) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (value, value, value)).save(out, "PNG")
    return out.getvalue()


def test_a_changed_folder_is_decoded_again_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "images", files_of(FLAT))
    said: list[str] = []
    first = image_facts(ImageFolder(root), said.append)
    assert len(said) == 1
    assert "decoding 6 images, once" in said[0]
    assert image_facts(ImageFolder(root), said.append) == first
    assert len(said) == 1
    (root / "a/9.png").write_bytes(picture(99))
    os.utime(root / "a/9.png", ns=(1, 1))
    assert image_facts(ImageFolder(root), said.append).digest != first.digest
    assert len(said) == 2


def test_links_inside_the_users_own_folder_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    real = write_folder(tmp_path / "real", files_of(FLAT))
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in "abc":
        (linked / name).symlink_to(real / name)
    assert image_facts(ImageFolder(linked)) == image_facts(ImageFolder(real))
    (real / "a" / "around").symlink_to(real)
    with pytest.raises(DataError, match="is a link to a folder around it"):
        image_facts(ImageFolder(real))
    (real / "a" / "around").unlink()
    (real / "a" / "gone.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"'a/gone.png' is neither a file nor a folder"):
        image_facts(ImageFolder(real))


# -- what is refused, in a folder and in an archive ---------------------------------------------------------------------

FAULTS: list[tuple[str, Callable[[dict[str, bytes]], dict[str, bytes]], str]] = [
    ("no images", lambda files: {"a/x.txt": b""}, "holds no images"),
    ("one class", lambda files: {n: d for n, d in files.items() if "/a" in n}, "holds one class only, 'ant'"),
    ("test lacks a class", lambda f: {n: d for n, d in f.items() if "test/bee" not in n}, "the class 'test/bee' has no images"),
    ("no test part", lambda f: {n: d for n, d in f.items() if "train" in n}, "holds the folders train: give train/ and test/"),
    ("a third part", lambda f: f | {"val/ant/1.png": picture(1)}, "holds the folders test, train, val"),
    ("an image outside", lambda f: f | {"train/1.png": picture(1)}, "'train/1.png' lies in no class folder"),
    ("another file", lambda f: f | {"train/ant/notes.txt": b"x"}, "'train/ant/notes.txt' is of an unsupported file type"),
    ("garbage", lambda f: f | {"train/ant/1.png": b"garbage"}, "'train/ant/1.png' is not an image that can be read"),
    ("empty", lambda f: f | {"train/ant/1.png": b""}, "'train/ant/1.png' is not an image that can be read"),
    ("cut short", lambda f: f | {"test/cat/1.png": picture(1, size=(40, 40))[:200]}, "'test/cat/1.png'"),
    ("two sizes", lambda f: f | {"test/cat/1.png": picture(1, size=(6, 4))},
     "'test/cat/1.png' has 6×4 pixels, but 'train/ant/0.png' has 5×4"),
    ("transparency", lambda f: f | {"test/cat/1.png": picture(1, mode="RGBA")}, "'test/cat/1.png' has the pixel format RGBA"),
]  # fmt: skip


@pytest.mark.parametrize("form", ["folder", "archive"])
@pytest.mark.parametrize(("fault", "message"), [pytest.param(f, m, id=i) for i, f, m in FAULTS])
def test_faults_are_one_line_that_names_the_file(
    tmp_path: Path, cache: Path, form: str, fault: Callable[[dict[str, bytes]], dict[str, bytes]], message: str
) -> None:
    files = fault(files_of(SPLIT))
    path = write_folder(tmp_path / "x", files) if form == "folder" else tar_of(tmp_path / "x.tar.gz", files)
    with pytest.raises(DataError) as caught:
        load_images(ImageFolder(path))
    assert str(caught.value).startswith(f"imagefolder:{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "object at" not in str(caught.value)
    assert not list(cache.glob("*.npy")), "nothing half made is kept"
    assert not list(cache.glob(".partial*"))


def test_an_empty_class_folder_is_an_error(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "images", files_of(FLAT))
    (root / "d").mkdir()
    with pytest.raises(DataError, match="the class 'd' has no images"):
        image_facts(ImageFolder(root))
    folder = member("d", type=tarfile.DIRTYPE)
    archive = write_tar(tmp_path / "images.tar", [folder, *(member(n, d) for n, d in files_of(FLAT).items())])
    with pytest.raises(DataError, match="the class 'd' has no images"):
        image_facts(ImageFolder(archive))


def test_paths_that_are_no_source(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such folder or archive"):
        ImageFolder(tmp_path / "missing")
    (tmp_path / "images.zip").write_bytes(b"PK")
    with pytest.raises(ConfigError, match=r"neither a folder nor a .tar, .tar.gz or .tar.xz archive"):
        ImageFolder(tmp_path / "images.zip")


def test_an_unreadable_folder(tmp_path: Path, is_root: bool) -> None:
    if is_root:
        pytest.skip("root reads everything")
    root = write_folder(tmp_path / "images", files_of(FLAT))
    (root / "a").chmod(0)
    with pytest.raises(DataError, match="cannot be read"):
        image_facts(ImageFolder(root))


def test_names_that_are_not_text(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "images", files_of(FLAT))
    Path(os.fsdecode(os.fsencode(root) + b"/a/\xff.png")).write_bytes(picture(3))
    with pytest.raises(DataError, match="is not UTF-8"):
        image_facts(ImageFolder(root))


# -- hostile archives and pictures ---------------------------------------------------------------------------------------

HOSTILE = {
    "points outside": [member("train/../../evil.png", picture(0))],
    "points outside the archive": [member("/etc/evil.png", picture(0))],
    "is a link; give": [member("train/ant/9.png", type=tarfile.SYMTYPE, linkname="/etc/passwd")],
    "is a link": [member("train/ant/9.png", type=tarfile.LNKTYPE, linkname="train/ant/0.png")],
    "is neither a plain file nor a folder": [member("train/ant/9.png", type=tarfile.CHRTYPE)],
    "neither a plain file": [member("train/ant/fifo", type=tarfile.FIFOTYPE)],
    "twice": [member("train/ant/0.png", picture(9)), member("./train/ant//0.png", picture(8))],
}


@pytest.mark.parametrize("message", HOSTILE)
def test_hostile_members_are_refused(tmp_path: Path, message: str) -> None:
    good = [member(name, data) for name, data in files_of(SPLIT).items() if name != "train/ant/0.png"]
    path = write_tar(tmp_path / "x.tar", [*good, *HOSTILE[message]])
    before = {item for item in tmp_path.rglob("*") if "cache" not in item.parts}
    with pytest.raises(DataError, match=message):
        load_images(ImageFolder(path))
    assert {item for item in tmp_path.rglob("*") if "cache" not in item.parts} == before


def header_only(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def bomb(path: Path, header: bytes, zeros: int = 300 << 20) -> Path:
    """A small archive that unpacks to `header` and then hundreds of MB of nothing."""
    with gzip.open(path, "wb", compresslevel=1) as out:
        out.write(header)
        for _ in range(zeros >> 20):
            out.write(b"\0" * (1 << 20))
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (tarfile.REGTYPE, "has 314572800 bytes"),
        (tarfile.XHDTYPE, "an extension header of 314572800 bytes"),
        (tarfile.GNUTYPE_LONGNAME, "an extension header of 314572800 bytes"),
    ],
)
def test_bombs_are_refused_by_their_header_and_not_unpacked(tmp_path: Path, kind: bytes, message: str) -> None:
    path = bomb(tmp_path / "x.tar.gz", header_only("train/ant/1.png", 300 << 20, kind))
    tracemalloc.start()
    with pytest.raises(DataError, match=message):
        load_images(ImageFolder(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


def test_an_archive_that_goes_on_after_its_end(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", files_of(SPLIT))
    with path.open("ab") as out:
        out.write(b"\0" * (17 << 20))
    with pytest.raises(DataError, match="goes on after the archive's end"):
        load_images(ImageFolder(path))
    path = tar_of(tmp_path / "y.tar", files_of(SPLIT))
    with path.open("ab") as out:
        out.write(b"more")
    with pytest.raises(DataError, match="ends early"):
        load_images(ImageFolder(path))


@pytest.mark.parametrize("suffix", [".tar", ".tar.gz", ".tar.xz"])
def test_an_archive_cut_anywhere_is_refused(tmp_path: Path, suffix: str) -> None:
    whole = tar_of(tmp_path / f"whole{suffix}", files_of(SPLIT)).read_bytes()
    cuts = np.linspace(0, len(whole) - 1, 25).astype(int).tolist()
    if suffix == ".tar":  # at the ends of members too, where tarfile sees nothing wrong; padding may go
        cuts = [cut for cut in cuts if cut < len(whole.rstrip(b"\0"))] + list(range(1024, 12 * 1024, 1024))
    for cut in cuts:
        path = tmp_path / f"cut{suffix}"
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"cannot be read as a|ends early|holds no images"):
            load_images(ImageFolder(path))


def test_a_changed_byte_in_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "x.tar.gz", files_of(SPLIT)).read_bytes()
    for position in range(20, len(whole), 97):
        changed = bytearray(whole)
        changed[position] ^= 0x10
        (tmp_path / "y.tar.gz").write_bytes(changed)
        with pytest.raises(DataError):
            load_images(ImageFolder(tmp_path / "y.tar.gz"))


def test_wrong_compression(tmp_path: Path) -> None:
    plain = tar_of(tmp_path / "x.tar", files_of(SPLIT)).read_bytes()
    for suffix in (".tar.gz", ".tar.xz"):
        (tmp_path / f"y{suffix}").write_bytes(plain)
        with pytest.raises(DataError, match=f"cannot be read as a {suffix} archive"):
            load_images(ImageFolder(tmp_path / f"y{suffix}"))


def test_a_picture_that_claims_to_be_huge(tmp_path: Path) -> None:
    for side, message in ((9000, "claims 9000×9000 pixels; accepted are"), (30000, "exceeds limit")):
        huge = f"P5 {side} {side} 255\n".encode() + b"\0" * 10
        path = tar_of(tmp_path / f"{side}.tar", files_of(SPLIT) | {"train/ant/0.pgm": huge})
        with pytest.raises(DataError, match=message):
            load_images(ImageFolder(path))


def test_limits_on_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, path = write_folder(tmp_path / "x", files_of(SPLIT)), tar_of(tmp_path / "x.tar", files_of(SPLIT))
    for name, message in (("MAX_FILES", "holds more than 3 files"), ("MAX_FILE_BYTES", "bytes")):
        for module in (archive, folder):
            monkeypatch.setattr(module, name, 3)
        for source in (root, path):
            with pytest.raises(DataError, match=message):
                load_images(ImageFolder(source))
        monkeypatch.undo()


# -- names alone -----------------------------------------------------------------------------------------------------


def test_layout_does_not_depend_on_the_order_of_names() -> None:
    rng = np.random.default_rng(0)
    names = [f"c{rng.integers(5)}/{number}.jpg" for number in range(40)]
    first = lay_out(names, [], "x")
    for _ in range(5):
        again = lay_out(list(rng.permutation(names)), [], "x")
        assert again.index == first.index
        assert np.array_equal(again.labels, first.labels)


def test_images_below_a_class_belong_to_it() -> None:
    layout = lay_out(["a/x/1.png", "a/2.png", "b/y/z/3.png"], ["a", "b", "a/empty"], "x")
    assert layout.classes == ("a", "b")
    assert list(layout.index) == ["a/2.png", "a/x/1.png", "b/y/z/3.png"]
    assert layout.labels.tolist() == [0, 0, 1]
