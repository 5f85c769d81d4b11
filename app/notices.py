"""One-time codes as files in a folder, for a mail or message gateway to send and delete."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from core.errors import Refused, Unavailable
from custody.keys.private_file import write_private_file
from custody.withdrawals.notices import CodeNotice

WAITING_MAX = 10_000
"""Files that wait; with more nobody sends them, and no more codes are made."""


@dataclass(frozen=True, slots=True)
class FolderNotifier:
    """Writes each notice into a file of its own that only the platform's user reads."""

    folder: Path

    def send_code(self, notice: CodeNotice) -> None:
        """Write one notice durably. Unavailable: the folder is full or cannot be written."""
        content = {
            "customer_no": notice.customer_no,
            "entry_id": notice.entry_id,
            "chain": notice.chain,
            "address": notice.address,
            "label": notice.label,
            "expires_at_ns": notice.expires_at_ns,
            "code": notice.code.reveal().decode("ascii"),
        }
        name = f"{notice.entry_id}-{notice.expires_at_ns}.json"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if sum(1 for _ in self.folder.iterdir()) >= WAITING_MAX:
                raise Unavailable("nobody collects the codes")
            write_private_file(self.folder / name, json.dumps(content).encode())
        except (OSError, Refused) as error:
            raise Unavailable("the code could not be handed over") from error
