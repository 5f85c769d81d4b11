"""What somebody does who has the token, its PIN, the file of keys, and time (S07)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pkcs11
from coincurve import PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11._pkcs11 import DecryptMixin, EncryptMixin, WrapMixin  # type: ignore[attr-defined]

from custody.keys.signers import pkcs11_keys
from custody.keys.signers.base import ED25519, SECP256K1, KeyRef
from custody.keys.signers.pkcs11 import Pkcs11Signer
from custody.keys.signers.pkcs11_lanes import Lane
from infra.devnet.softhsm import SoftHsm
from tests.support.token_stories import DEPOSIT, HOT, digest, opened, outcome, prepared

WRAPS = (
    Mechanism.AES_KEY_WRAP,
    Mechanism.AES_KEY_WRAP_PAD,
    Mechanism.AES_CBC_PAD,
    Mechanism.AES_CBC,
    Mechanism.AES_ECB,
    Mechanism.AES_GCM,
    Mechanism.DES3_CBC_PAD,
    Mechanism.RSA_PKCS,
    Mechanism.RSA_PKCS_OAEP,
)
SWITCHES = (
    (Attribute.EXTRACTABLE, True),
    (Attribute.SENSITIVE, False),
    (Attribute.WRAP, True),
    (Attribute.DECRYPT, True),
    (Attribute.DERIVE, True),
    (Attribute.MODIFIABLE, True),
    (Attribute.COPYABLE, True),
)
COPIED = (Attribute.EXTRACTABLE, Attribute.SENSITIVE)
_IV = bytes(16)
PARAMETERS: dict[Mechanism, Any] = {
    Mechanism.AES_CBC: _IV,
    Mechanism.AES_CBC_PAD: _IV,
    Mechanism.AES_GCM: pkcs11.GCMParams(nonce=_IV[:12]),
    Mechanism.DES3_CBC_PAD: _IV[:8],
}
KNOWN = bytes(range(32))
"""The value of a wrapping key that the thief brings along."""


def steal(hsm: SoftHsm, folder: Path) -> dict[str, Any]:
    """Try to read every private and secret key in every way; say which ways worked.

    `control` are the same attempts at a key that may be read: none of them is blunt.
    """
    secp = prepared(hsm, folder)
    edwards = prepared(hsm, folder, curve=ED25519)
    points = [s.public_key(KeyRef(a, 0)) for s in (secp, edwards) for a in ("hot", "deposits")]
    for signer in (secp, edwards):
        signer.sign(DEPOSIT, digest(1))  # its handle is kept unwrapped
    token = secp._token
    return {
        "read": token.run(lambda lane: list(_read_all(lane.session, points))),
        "changed": token.run(lambda lane: list(_change_all(lane.session))),
        "wrapped": token.run(lambda lane: list(_wrap_all(lane.session))),
        "unwrapped": token.run(lambda lane: list(_unwrap_all(lane, secp))),
        "objects": token.run(lambda lane: len(list(_private(lane.session)))),
        "attributes": len(Attribute),
        "control": token.run(lambda lane: _control(lane.session)),
    }


def _private(session: Any) -> Iterator[Any]:
    for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.SECRET_KEY):
        yield from session.get_objects({Attribute.CLASS: kind})


def _with(mechanism: Mechanism) -> dict[str, Any]:
    return {"mechanism": mechanism, "mechanism_param": PARAMETERS.get(mechanism)}


def _name(key: Any) -> str:
    return f"{key[Attribute.LABEL] or 'unwrapped'}#{key.handle}"


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except pkcs11.PKCS11Error:
        return False
    return True


def _read(key: Any, attribute: Attribute) -> bytes | None:
    """Return an attribute as the bytes that the token gave."""
    mapper = pkcs11_keys.mapper()
    known = mapper.attribute_types.get(attribute)
    mapper.attribute_types[attribute] = bytes, bytes
    try:
        return bytes(key[attribute])
    except pkcs11.PKCS11Error:
        return None
    finally:
        mapper.attribute_types.pop(attribute)
        if known is not None:
            mapper.attribute_types[attribute] = known


def _read_all(session: Any, points: list[bytes]) -> Iterator[str]:
    for key in _private(session):
        for attribute in Attribute:
            value = _read(key, attribute)
            if value is None:
                continue
            if attribute is Attribute.VALUE or _opens(value, points):
                yield f"{_name(key)}: {attribute.name}"


def _opens(value: bytes, points: list[bytes]) -> bool:
    """Return whether some 32 bytes of a value are the private key of one of the points."""
    for start in range(len(value) - 31):
        part = value[start : start + 32]
        edwards = Ed25519PrivateKey.from_private_bytes(part).public_key().public_bytes_raw()
        if edwards in points:
            return True
        try:
            if PrivateKey(part).public_key.format() in points:
                return True
        except ValueError:
            continue
    return False


def _change_all(session: Any) -> Iterator[str]:
    for key in _private(session):
        for attribute, value in SWITCHES:
            if _read(key, Attribute.TOKEN) == b"\1" and _works(
                partial(key.__setitem__, attribute, value)
            ):
                yield f"{_name(key)}: set {attribute.name}"
            template = {Attribute.TOKEN: False, attribute: value}
            if attribute in (Attribute.EXTRACTABLE, Attribute.SENSITIVE) and _works(
                partial(key.copy, template)
            ):
                yield f"{_name(key)}: copied with {attribute.name}"


def _thiefs_keys(session: Any) -> list[Any]:
    uses = {Attribute.WRAP: True, Attribute.UNWRAP: True, Attribute.DECRYPT: True}
    uses |= {Attribute.ENCRYPT: True, Attribute.TOKEN: False, Attribute.PRIVATE: True}
    brought = {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.KEY_TYPE: KeyType.AES}
    aes = session.create_object({**brought, Attribute.VALUE: KNOWN, **uses})
    rsa, _ = session.generate_keypair(
        KeyType.RSA,
        1024,
        capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
        public_template={Attribute.WRAP: True},
    )
    return [aes, rsa]


def _wrap_all(session: Any) -> Iterator[str]:
    targets = list(_private(session))
    kek = pkcs11_keys.find_secret(session, pkcs11_keys.KEK)
    wrappers = [*_thiefs_keys(session), kek, *map(_forced(WrapMixin), targets)]
    for wrapper, target, mechanism in itertools.product(wrappers, targets, WRAPS):
        if _works(partial(wrapper.wrap_key, target, **_with(mechanism))):
            yield f"{_name(target)} by {_name(wrapper)} with {mechanism.name}"


def _forced(mixin: type) -> Callable[[Any], Any]:
    """Call a key's function although its attributes say that it has none."""

    def force(key: Any) -> Any:
        if isinstance(key, mixin):
            return key
        return type("Forced", (mixin, type(key)), {})(key.wrapper)

    return force


def _unwrap_all(lane: Lane, signer: Pkcs11Signer) -> Iterator[str]:
    session = lane.session
    kek = pkcs11_keys.find_secret(session, pkcs11_keys.KEK)
    entry = signer._entry(DEPOSIT)
    assert kek is not None
    assert entry.blob
    weak = [{Attribute.EXTRACTABLE: e, Attribute.SENSITIVE: s} for e, s in ((1, 1), (0, 0), (1, 0))]
    kinds = [
        (ObjectClass.PRIVATE_KEY, KeyType.EC),
        (ObjectClass.SECRET_KEY, KeyType.GENERIC_SECRET),
        (ObjectClass.SECRET_KEY, KeyType.AES),
    ]
    for (kind, key_type), mechanism, template in itertools.product(kinds, WRAPS, [*weak, {}]):
        try:
            how = _with(mechanism)
            key = kek.unwrap_key(kind, key_type, entry.blob, template=template, **how)
        except pkcs11.PKCS11Error:
            continue
        value = _read(key, Attribute.VALUE)
        if value is not None or template:
            yield f"the blob as {key_type.name} with {mechanism.name}: {value is not None}"
    for mixin, verb in ((DecryptMixin, "decrypt"), (EncryptMixin, "encrypt")):
        for mechanism in (Mechanism.AES_ECB, Mechanism.AES_CBC_PAD, Mechanism.AES_KEY_WRAP_PAD):
            use = getattr(_forced(mixin)(kek), verb)
            if _works(partial(use, entry.blob[:64], **_with(mechanism))):
                yield f"the key-encryption key {verb}s with {mechanism.name}"


def _control(session: Any) -> list[str]:
    """The same attempts where they must work."""
    curve = pkcs11_keys.CURVES[SECP256K1]
    a = Attribute
    loose = {a.PRIVATE: True, a.SENSITIVE: False, a.EXTRACTABLE: True}
    public, private = pkcs11_keys._generate(session, curve, "", loose)
    point = pkcs11_keys.read_point(public[a.EC_POINT], curve)
    told = [word for word in _read_all(session, [point]) if word.endswith("VALUE")]
    assert any(f"#{private.handle}:" in word for word in told)
    thief = _thiefs_keys(session)[0]
    blob = thief.wrap_key(private, mechanism=Mechanism.AES_KEY_WRAP_PAD)
    readable = thief.unwrap_key(
        ObjectClass.PRIVATE_KEY,
        KeyType.EC,
        blob,
        mechanism=Mechanism.AES_KEY_WRAP_PAD,
        template={a.SENSITIVE: False, a.EXTRACTABLE: True},
    )
    assert _opens(_read(readable, a.VALUE) or b"", [point])
    if _works(lambda: thief.decrypt(bytes(32), mechanism=Mechanism.AES_ECB)):
        told.append("decrypt")
    return told


# weak tokens


def weak_tokens(hsm: SoftHsm, folder: Path) -> dict[str, str]:
    """Put one weak key after the other into the token; say what the signer's start says."""
    prepared(hsm, folder).close()
    told = {"sound": outcome(lambda: opened(hsm, folder).close())}
    for name, plant in WEAK.items():
        library = pkcs11.lib(str(hsm.module.resolve()))
        token = library.get_token(token_label=hsm.label)
        session = token.open(
            rw=True, user_pin=hsm.pin_file.read_text(), attribute_mapper=pkcs11_keys.mapper()
        )
        plant(session)
        session.close()
        told[name] = outcome(lambda: opened(hsm, folder).close())
        session = token.open(rw=True, user_pin=hsm.pin_file.read_text())
        for planted in list(session.get_objects({Attribute.LABEL: "x"})):
            planted.destroy()
        session.close()
    told["sound again"] = outcome(lambda: opened(hsm, folder).close())
    return told


def _aes(**changes: bool) -> Callable[[Any], object]:
    def plant(session: Any) -> object:
        template = {Attribute.PRIVATE: True, Attribute.SENSITIVE: True}
        template |= {Attribute.EXTRACTABLE: False, Attribute.MODIFIABLE: False}
        template |= {Attribute[name]: value for name, value in changes.items()}
        return session.generate_key(KeyType.AES, 256, label="x", store=True, template=template)

    return plant


def _pair(**changes: bool) -> Callable[[Any], object]:
    def plant(session: Any) -> object:
        template = pkcs11_keys._never_leaves()
        template |= {Attribute[name]: value for name, value in changes.items()}
        curve = pkcs11_keys.CURVES[SECP256K1]
        parameters = session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: curve.parameters}, local=True
        )
        return parameters.generate_keypair(label="x", store=True, private_template=template)

    return plant


def _brought(session: Any) -> object:
    template: dict[Attribute, Any] = {Attribute.CLASS: ObjectClass.SECRET_KEY}
    template |= {
        Attribute.KEY_TYPE: KeyType.AES,
        Attribute.VALUE: KNOWN,
        Attribute.TOKEN: True,
        Attribute.PRIVATE: True,
    }
    template |= {Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.LABEL: "x"}
    return session.create_object(template)


def _public_that_wraps(session: Any) -> object:
    return session.generate_keypair(
        KeyType.RSA,
        1024,
        label="x",
        store=True,
        capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
        public_template={Attribute.WRAP: True},
        private_template=pkcs11_keys._never_leaves(),
    )


WEAK: dict[str, Callable[[Any], object]] = {
    "extractable": _aes(EXTRACTABLE=True),
    "not sensitive": _aes(SENSITIVE=False),
    "not private": _aes(PRIVATE=False),
    "wraps and decrypts": _aes(WRAP=True, DECRYPT=True),
    "wraps and unwraps, under another name": _aes(WRAP=True, UNWRAP=True),
    "derives": _pair(DERIVE=True),
    "an extractable pair": _pair(EXTRACTABLE=True),
    "a readable pair": _pair(SENSITIVE=False),
    "brought along": _brought,
    "a public key that wraps": _public_that_wraps,
}


def a_token_that_lets_attributes_change(hsm: SoftHsm, folder: Path) -> dict[str, str]:
    """The library says yes when EXTRACTABLE is set."""
    from tests.support.token_faults import Fault, FaultyLibrary

    library = FaultyLibrary(hsm.module)
    prepared(hsm, folder).close()
    library.set("C_SetAttributeValue", Fault(answer=0, times=99))
    return {"start": outcome(lambda: opened(hsm, folder))}


def a_wrapping_key_of_somebody_else(hsm: SoftHsm, folder: Path) -> dict[str, str]:
    """A key waits under the KEK's name whose unwrapped keys may be read."""
    signer = opened(hsm, folder)

    def plant(lane: Lane) -> None:
        uses = {Attribute.WRAP: True, Attribute.UNWRAP: True}
        template = pkcs11_keys._never_leaves() | uses
        template |= dict.fromkeys((Attribute.ENCRYPT, Attribute.DECRYPT, Attribute.SIGN), False)
        kek = pkcs11_keys.KEK
        lane.session.generate_key(KeyType.AES, 256, label=kek, store=True, template=template)

    signer._token.run(plant)
    return {
        "make": outcome(lambda: signer.make_keys("deposits", 0, 1)),
        "sign": outcome(lambda: signer.sign(HOT, digest(1))),
    }
