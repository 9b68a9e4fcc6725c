"""Where a document may be put: files whole or absent, streams written to, links followed."""

import os
import threading
from pathlib import Path

import pytest

from sics_cli.base.errors import ConfigError, StorageError
from sics_cli.console.output import check_folder, check_output, is_stream, write_document
from sics_cli.main import main


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text(encoding="utf-8")))
    reader.start()
    check_output(pipe, tmp_path / "source.csv")
    write_document(pipe, "κ")
    reader.join(timeout=30)
    assert got == ["κ"]
    assert is_stream(pipe)


def test_a_device_is_written_to_and_stays_a_device(capsys: pytest.CaptureFixture[str]) -> None:
    null = Path(os.devnull)
    check_output(null, Path("source.csv"))
    write_document(null, "x")
    assert is_stream(null)
    assert capsys.readouterr().err == f"written to {null}\n"


@pytest.mark.skipif(not is_stream(Path("/dev/full")), reason="no /dev/full here")
def test_a_full_device_is_said() -> None:
    with pytest.raises(StorageError, match="--output /dev/full: cannot be written"):
        write_document(Path("/dev/full"), "x")
    assert is_stream(Path("/dev/full")), "it is not replaced by a file"


def test_a_link_keeps_pointing_where_it_does(tmp_path: Path) -> None:
    target, link = tmp_path / "deep" / "target.md", tmp_path / "link.md"
    target.parent.mkdir()
    target.write_text("old")
    link.symlink_to(target)
    write_document(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_link_to_the_source_is_the_source(tmp_path: Path) -> None:
    source, link = tmp_path / "source.csv", tmp_path / "link.md"
    source.write_text("rows")
    link.symlink_to(source)
    with pytest.raises(ConfigError, match="is the file to be read"):
        check_output(link, source)


def test_figures_need_a_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    check_folder("--figures", None)
    check_folder("--figures", tmp_path / "not" / "yet" / "there")
    for place in (file, file / "x"):
        with pytest.raises(ConfigError, match="give a folder"):
            check_folder("--figures", place)


def test_files_of_another_kind_are_not_called_damaged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rows.csv").write_text("seed,scorer,sparsity,accuracy\n0,a,0.5,0.9\n1,a,0.5,0.9\n2,a,0.5,0.9\n")
    for command in ("status", "export"):
        assert main([command, str(tmp_path / "rows.csv")]) == 1
        assert "is not a run: give a run's folder" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "rows.csv")]) == 2
    assert "magnitude, the default reference, is not among the scorers: give --reference a" in capsys.readouterr().err


def test_export_takes_the_endings_it_can_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(tmp_path), "-o", str(tmp_path / "rows.xlsx")]) == 2
    assert "give a name ending in .csv | .jsonl | .parquet, or" in capsys.readouterr().err
