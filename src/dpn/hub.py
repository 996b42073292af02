"""A network's own words for files and the Hugging Face hub: save_pretrained, from_pretrained, push_to_hub."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self, cast


class Pretrained:
    """What a DPN takes from here; `dpn.storage` does the work."""

    def save_pretrained(self, folder: Path | str) -> None:
        """Writes `folder`/model.safetensors, which `from_pretrained` and `dpn.load` open; makes the folder."""
        from dpn.storage import save

        Path(folder).mkdir(parents=True, exist_ok=True)
        save(cast(Any, self), Path(folder) / "model.safetensors")

    @classmethod
    def from_pretrained(cls, source: Path | str) -> Self:
        """`dpn.load`, under the name that the Hugging Face hub's users know."""
        from dpn.storage import load

        return cast(Self, load(source))

    def push_to_hub(self, repo_id: str, *, private: bool = False) -> str:
        """Uploads the network to the Hugging Face hub, from where `dpn.load(repo_id)` opens it; returns the commit's URL."""
        from huggingface_hub import HfApi

        api = HfApi()
        api.create_repo(repo_id, private=private, exist_ok=True)
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return api.upload_folder(repo_id=repo_id, folder_path=folder)
