"""Faults in a PKCS#11 library: its function table, in this process, answers what a test wants.

Every call goes through a function of ours to the library's own, is counted, and fails, waits or is
changed on order. Only for processes of their own: the library is changed for good.
"""

from __future__ import annotations

import ctypes
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CKR_OK = 0x0
CKR_GENERAL_ERROR = 0x5
CKR_DEVICE_ERROR = 0x30
CKR_DEVICE_REMOVED = 0x32
CKR_FUNCTION_NOT_SUPPORTED = 0x54
CKR_OBJECT_HANDLE_INVALID = 0x82
CKR_SESSION_CLOSED = 0xB0
CKR_SESSION_HANDLE_INVALID = 0xB3
CKR_TOKEN_NOT_PRESENT = 0xE0
CKR_USER_NOT_LOGGED_IN = 0x101
CKR_CRYPTOKI_NOT_INITIALIZED = 0x190
CKR_VENDOR_DEFINED = 0x80000000

_NAMES = """
C_Initialize C_Finalize C_GetInfo C_GetFunctionList C_GetSlotList C_GetSlotInfo
C_GetTokenInfo C_GetMechanismList C_GetMechanismInfo C_InitToken C_InitPIN C_SetPIN
C_OpenSession C_CloseSession C_CloseAllSessions C_GetSessionInfo C_GetOperationState
C_SetOperationState C_Login C_Logout C_CreateObject C_CopyObject C_DestroyObject
C_GetObjectSize C_GetAttributeValue C_SetAttributeValue C_FindObjectsInit C_FindObjects
C_FindObjectsFinal C_EncryptInit C_Encrypt C_EncryptUpdate C_EncryptFinal C_DecryptInit
C_Decrypt C_DecryptUpdate C_DecryptFinal C_DigestInit C_Digest C_DigestUpdate C_DigestKey
C_DigestFinal C_SignInit C_Sign C_SignUpdate C_SignFinal C_SignRecoverInit C_SignRecover
C_VerifyInit C_Verify C_VerifyUpdate C_VerifyFinal C_VerifyRecoverInit C_VerifyRecover
C_DigestEncryptUpdate C_DecryptDigestUpdate C_SignEncryptUpdate C_DecryptVerifyUpdate
C_GenerateKey C_GenerateKeyPair C_WrapKey C_UnwrapKey C_DeriveKey
"""
FUNCTIONS = tuple(_NAMES.split())
"""CK_FUNCTION_LIST in its order (PKCS#11 v2.40, pkcs11f.h)."""
ARGUMENTS = 8
"""No function of the table has more. All are of the size of a register, so more may be passed."""
_HEAD = ctypes.sizeof(ctypes.c_void_p)
_Prototype = ctypes.CFUNCTYPE(ctypes.c_ulong, *[ctypes.c_ulong] * ARGUMENTS)

After = Callable[[int, tuple[int, ...]], int]
"""Given what the library answered and the arguments; returns what is answered instead."""


@dataclass
class Fault:
    """What happens to the next `times` calls after `skip` others."""

    answer: int | None = None
    wait_s: float = 0
    times: int = 1
    skip: int = 0
    after: After | None = None


class FaultyLibrary:
    """A library in this process whose functions do as told."""

    def __init__(self, path: Path) -> None:
        self.calls: Counter[str] = Counter()
        """By function. A C_Sign that only asks for a length is not counted."""
        self.signatures: list[bytes] = []
        """Everything that C_Sign gave back."""
        self._faults: dict[str, Fault] = {}
        self._library = ctypes.CDLL(str(path))
        table = ctypes.c_void_p()
        assert self._library.C_GetFunctionList(ctypes.byref(table)) == CKR_OK
        assert table.value is not None
        slots = (ctypes.c_void_p * len(FUNCTIONS)).from_address(table.value + _HEAD)
        self._kept: list[object] = []
        for place, name in enumerate(FUNCTIONS):
            original = _Prototype(int(slots[place] or 0))
            ours = _Prototype(self._wrapped(name, original))
            self._kept += [original, ours]
            slots[place] = ctypes.cast(ours, ctypes.c_void_p).value

    def set(self, name: str, fault: Fault) -> None:
        """Order a fault of a function; it replaces the one before."""
        assert name in FUNCTIONS
        self._faults[name] = fault

    def heal(self) -> None:
        """Take all faults back."""
        self._faults.clear()

    def _wrapped(self, name: str, original: Callable[..., int]) -> Callable[..., int]:
        def call(*arguments: int) -> int:
            is_question = name == "C_Sign" and not arguments[3]
            fault = None if is_question else self._take(name)
            if fault is not None:
                if fault.wait_s:
                    time.sleep(fault.wait_s)
                if fault.answer is not None:
                    return fault.answer
            answer = int(original(*arguments))
            if fault is not None and fault.after is not None:
                answer = fault.after(answer, arguments)
            if name == "C_Sign" and not is_question and answer == CKR_OK:
                length = ctypes.c_ulong.from_address(arguments[4]).value
                self.signatures.append(ctypes.string_at(arguments[3], length))
            return answer

        return call

    def _take(self, name: str) -> Fault | None:
        self.calls[name] += 1
        fault = self._faults.get(name)
        if fault is None:
            return None
        if fault.skip:
            fault.skip -= 1
            return None
        if not fault.times:
            return None
        fault.times -= 1
        return fault
