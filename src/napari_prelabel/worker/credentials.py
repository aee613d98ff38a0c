"""Who may speak to a worker: one certificate with its key, shown and asked for on every side.

Whoever holds the key may run programs on the other side, as dask's messages are pickled.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..values.errors import FileFormatError

CERTIFICATE, KEY = "prelabel.crt", "prelabel.key"


@dataclass(frozen=True, slots=True)
class Credentials:
    """certificate, key : PEM text."""

    certificate: str
    key: str

    @classmethod
    def new(cls) -> "Credentials":
        """A certificate that signs itself, good for a year."""
        from distributed import Security

        made = Security.temporary()
        return cls(made.tls_ca_file, made.tls_client_key)

    @classmethod
    def read(cls, folder: Path) -> "Credentials":
        """Raises FileFormatError where the folder lacks a file."""
        try:
            return cls(*((folder / name).read_text("ascii") for name in (CERTIFICATE, KEY)))
        except (OSError, UnicodeDecodeError) as error:
            raise FileFormatError(
                folder,
                f"{folder} holds no {CERTIFICATE} and {KEY}: copy the folder that "
                "'prelabel serve --tls' made on the server.",
            ) from error

    def write(self, folder: Path) -> None:
        """Into a folder that none but its owner can read; raises FileFormatError."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name, text in ((CERTIFICATE, self.certificate), (KEY, self.key)):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                with os.fdopen(os.open(folder / name, flags, 0o600), "w") as file:
                    file.write(text)
        except OSError as error:
            raise FileFormatError(
                folder, f"{folder} takes no certificate ({error.strerror}): choose another folder."
            ) from error

    def security(self) -> Any:
        """As distributed asks for it: nothing is sent or taken in the clear."""
        from distributed import Security

        return Security(
            tls_ca_file=self.certificate, require_encryption=True,
            **{f"tls_{role}_cert": self.certificate for role in _ROLES},
            **{f"tls_{role}_key": self.key for role in _ROLES},
        )  # fmt: skip


_ROLES = ("client", "scheduler", "worker")


def of_folder(folder: Path) -> Credentials:
    """Those of a folder, made where it has none; raises FileFormatError."""
    if not (folder / CERTIFICATE).exists() and not (folder / KEY).exists():
        Credentials.new().write(folder)
    return Credentials.read(folder)
