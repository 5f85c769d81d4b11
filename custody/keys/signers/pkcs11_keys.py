"""What keys look like inside a token: how they are made, wrapped, found and judged.

Everything here is done in one session by whoever owns it. Key agreement with PKCS#11 v2.40: no
private value leaves the token, not even wrapped, except deposit keys under the key-encryption key
(KEK), which neither encrypts nor decrypts and whose unwrap template makes all that it unwraps
sensitive and non-extractable.
"""

from __future__ import annotations

import ctypes
import functools
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from coincurve import PublicKey

from core.errors import Corrupt, Reason, Refused
from custody.keys.derivation import CURVE_ORDER
from custody.keys.signers.base import ED25519, SECP256K1, check_made
from custody.keys.signers.pkcs11_module import binding

KEK = "strongroom/kek"
MAC = "strongroom/mac"
_OID_SECP256K1 = bytes.fromhex("06052b8104000a")
_NAME_ED25519 = b"\x13\x0cedwards25519"
"""CKA_EC_PARAMS: the DER of the curve's object identifier, and of its name (RFC 8410 has no OID
that every token knows)."""


@dataclass(frozen=True, slots=True)
class TokenCurve:
    """The names that PKCS#11 has for a curve."""

    name: str
    key_type: str
    generate: str
    sign: str
    parameters: bytes
    point_bytes: tuple[int, int]
    """Length of a public point as a token tells it, with and without its DER head."""


CURVES: Mapping[str, TokenCurve] = {
    SECP256K1: TokenCurve(
        SECP256K1, "EC", "EC_KEY_PAIR_GEN", "ECDSA", _OID_SECP256K1, (67, 65)
    ),
    ED25519: TokenCurve(
        ED25519, "EC_EDWARDS", "EC_EDWARDS_KEY_PAIR_GEN", "EDDSA", _NAME_ED25519, (34, 32)
    ),
}  # fmt: skip


class _Attribute(ctypes.Structure):
    """CK_ATTRIBUTE, for templates within templates."""

    _fields_ = (
        ("type", ctypes.c_ulong),
        ("value", ctypes.c_void_p),
        ("length", ctypes.c_ulong),
    )


@functools.cache
def mapper() -> Any:
    """Return how attributes are packed: only what a template says, nothing guessed besides."""
    from pkcs11 import Attribute
    from pkcs11.attributes import AttributeMapper

    class Exact(AttributeMapper):
        """The library's own adds capabilities that make tokens refuse to unwrap private keys."""

        def generic_key_template(
            self,
            base_template: dict[Attribute, Any],
            *,
            id_: Any,
            label: Any,
            store: bool,
            **_: Any,
        ) -> dict[Attribute, Any]:
            extra: dict[Attribute, Any] = {Attribute.TOKEN: store, Attribute.LABEL: label or ""}
            return {**base_template, **extra, Attribute.ID: id_ or b""}

    exact = Exact()
    kept: list[object] = []  # the inner values must live as long as the packed pointers to them

    def pack(template: dict[Attribute, Any]) -> bytes:
        array = (_Attribute * len(template))()
        for place, (kind, value) in enumerate(template.items()):
            packed = exact.pack_attribute(kind, value)
            buffer = ctypes.create_string_buffer(packed, len(packed))
            kept.append(buffer)
            array[place] = _Attribute(int(kind), ctypes.addressof(buffer), len(packed))
        return bytes(array)

    exact.register_handler(Attribute.UNWRAP_TEMPLATE, pack, bytes)
    exact.register_handler(
        Attribute.ALLOWED_MECHANISMS,
        lambda allowed: b"".join(struct.pack("L", int(one)) for one in allowed),
        lambda packed: [one for (one,) in struct.iter_unpack("L", packed)],
    )
    return exact


def _never_leaves() -> dict[Any, Any]:
    a = binding().Attribute
    return {
        a.PRIVATE: True,
        a.SENSITIVE: True,
        a.EXTRACTABLE: False,
        a.MODIFIABLE: False,
        a.COPYABLE: False,
    }


# finding


def find_private(session: Any, label: str) -> Any:
    """Return a signing key of the token. NoSuchKey (of the binding) when there is none."""
    pkcs11 = binding()
    return session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=label)


def find_secret(session: Any, label: str) -> Any | None:
    """Return the KEK or the MAC key, or None."""
    pkcs11 = binding()
    try:
        return session.get_key(object_class=pkcs11.ObjectClass.SECRET_KEY, label=label)
    except pkcs11.NoSuchKey:
        return None


def find_public_key(session: Any, label: str, curve: TokenCurve) -> bytes | None:
    """Return the public key under a label when its private key is there as well, or None."""
    pkcs11 = binding()
    try:
        find_private(session, label)
        found = session.get_key(object_class=pkcs11.ObjectClass.PUBLIC_KEY, label=label)
    except pkcs11.NoSuchKey:
        return None
    return read_point(found[pkcs11.Attribute.EC_POINT], curve)


def read_point(point: bytes, curve: TokenCurve) -> bytes:
    """Return CKA_EC_POINT as our public key: 33 bytes, or 32. Corrupt: it is no point."""
    if len(point) == curve.point_bytes[0]:
        point = point[2:]
    if len(point) != curve.point_bytes[1]:
        raise Corrupt("the token tells a public key of another curve")
    if curve.name == ED25519:
        return point
    try:
        return PublicKey(point).format()
    except ValueError as error:
        raise Corrupt("the token tells a public key that is no point") from error


# making


def make_secrets(session: Any) -> None:
    """Make the KEK and the MAC key where they are missing."""
    pkcs11 = binding()
    a, m, kinds = pkcs11.Attribute, pkcs11.Mechanism, pkcs11.KeyType
    unwrapped = {a.SENSITIVE: True, a.EXTRACTABLE: False}
    if find_secret(session, KEK) is None:
        uses = {a.WRAP: True, a.UNWRAP: True, a.ENCRYPT: False, a.DECRYPT: False}
        only = {a.UNWRAP_TEMPLATE: unwrapped, a.ALLOWED_MECHANISMS: [m.AES_KEY_WRAP_PAD]}
        template = _never_leaves() | uses | only | _no_uses(a.SIGN, a.VERIFY, a.DERIVE)
        session.generate_key(
            kinds.AES, 256, label=KEK, store=True, capabilities=0, template=template
        )
    if find_secret(session, MAC) is None:
        uses = {a.SIGN: True, a.VERIFY: True}
        none = _no_uses(a.ENCRYPT, a.DECRYPT, a.WRAP, a.UNWRAP, a.DERIVE)
        template = _never_leaves() | uses | none
        session.generate_key(
            kinds.GENERIC_SECRET, 256, label=MAC, store=True, capabilities=0, template=template
        )


def _no_uses(*uses: Any) -> dict[Any, Any]:
    return dict.fromkeys(uses, False)


def make_token_key(session: Any, label: str, curve: TokenCurve) -> bytes:
    """Make a key pair that stays in the token under a label and return the public key."""
    pkcs11 = binding()
    a = pkcs11.Attribute
    only = {a.ALLOWED_MECHANISMS: [pkcs11.Mechanism[curve.sign]]}
    public, private = _generate(session, curve, label, _never_leaves() | only)
    assert private[a.LABEL] == label
    return read_point(public[a.EC_POINT], curve)


def make_wrapped_key(session: Any, kek: Any, curve: TokenCurve) -> tuple[bytes, bytes] | None:
    """Make a key pair and return its public key and the private one under the KEK.

    The pair lives only while this runs. None: the token does not wrap keys of this curve.
    """
    pkcs11 = binding()
    a = pkcs11.Attribute
    fleeting = {a.PRIVATE: True, a.SENSITIVE: True, a.EXTRACTABLE: True}
    public, private = _generate(session, curve, "", fleeting)
    try:
        blob = kek.wrap_key(private, mechanism=pkcs11.Mechanism.AES_KEY_WRAP_PAD)
        return read_point(public[a.EC_POINT], curve), bytes(blob)
    except pkcs11.KeyNotWrappable:
        return None
    finally:
        private.destroy()
        public.destroy()


def _generate(session: Any, curve: TokenCurve, label: str, private: dict[Any, Any]) -> Any:
    pkcs11 = binding()
    a, flag = pkcs11.Attribute, pkcs11.MechanismFlag
    kind, mechanism = pkcs11.KeyType[curve.key_type], pkcs11.Mechanism[curve.generate]
    parameters = session.create_domain_parameters(kind, {a.EC_PARAMS: curve.parameters}, local=True)
    none = _no_uses(a.DERIVE, a.DECRYPT, a.UNWRAP, a.SIGN_RECOVER)
    return parameters.generate_keypair(
        label=label,
        store=bool(label),
        capabilities=flag.SIGN | flag.VERIFY,
        mechanism=mechanism,
        private_template=private | none | {a.SIGN: True},
    )


def unwrap(kek: Any, blob: bytes, curve: TokenCurve, **wishes: bool) -> Any:
    """Return a deposit key as an object of the KEK's session.

    Corrupt: the blob is not of this token.
    """
    pkcs11 = binding()
    a = pkcs11.Attribute
    try:
        return kek.unwrap_key(
            pkcs11.ObjectClass.PRIVATE_KEY,
            pkcs11.KeyType[curve.key_type],
            blob,
            mechanism=pkcs11.Mechanism.AES_KEY_WRAP_PAD,
            template={a.PRIVATE: True, a.SENSITIVE: True, a.EXTRACTABLE: False, a.SIGN: True}
            | {a[name]: value for name, value in wishes.items()},
        )
    except (pkcs11.WrappedKeyInvalid, pkcs11.WrappedKeyLenRange) as error:
        raise Corrupt("a wrapped key does not open in this token") from error


# signing


def sign_with(private: Any, message: bytes, curve: TokenCurve) -> bytes:
    """Return what the token signs: r ‖ s, or the 64 bytes of RFC 8032. Nothing is checked yet."""
    return bytes(private.sign(message, mechanism=binding().Mechanism[curve.sign]))


def finish(raw: bytes, message: bytes, public_key: bytes, curve: TokenCurve) -> bytes:
    """Return a signature in our form after verifying it. Corrupt: it is not this key's.

    Tokens return any s and no recovery id: s is made low (BIP-62), the id is the one from which
    the public key recovers, and that it recovers is the verification.
    """
    if len(raw) != 64:
        raise Corrupt("the token made no signature")
    if curve.name == ED25519:
        check_made(ED25519, raw, message, public_key)
        return raw
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    if not (0 < r < CURVE_ORDER and 0 < s < CURVE_ORDER):
        raise Corrupt("the token made no signature")
    head = raw[:32] + min(s, CURVE_ORDER - s).to_bytes(32, "big")
    for recovery in range(4):
        signature = head + bytes((recovery,))
        try:
            found = PublicKey.from_signature_and_message(signature, message, hasher=None)
        except ValueError:
            continue  # no point has that r
        if found.format() == public_key:
            return signature
    raise Corrupt("the token signed with another key")


def tag(key: Any, data: bytes) -> bytes:
    """Return HMAC-SHA-256 of data under the token's MAC key."""
    return bytes(key.sign(data, mechanism=binding().Mechanism.SHA256_HMAC))


# judging


def judge(session: Any) -> None:
    """Look at every key that the token keeps and refuse a token with a weak one.

    It also tries to unwrap a key in a form that can be read. Refused: weak_key.
    """
    pkcs11 = binding()
    a, classes = pkcs11.Attribute, pkcs11.ObjectClass
    for kind in (classes.PRIVATE_KEY, classes.SECRET_KEY, classes.PUBLIC_KEY):
        for key in session.get_objects({a.CLASS: kind, a.TOKEN: True}):
            complaint = next(_complaints(key, is_public=kind == classes.PUBLIC_KEY), None)
            if complaint is not None:
                name = key[a.LABEL]
                raise Refused(Reason.WEAK_KEY, f"the token's key {name!r}: {complaint}")
    kek = find_secret(session, KEK)
    if kek is not None:
        _judge_wrapping(session, kek)


def _complaints(key: Any, *, is_public: bool) -> Iterator[str]:
    a = binding().Attribute
    if is_public:
        if _is_set(key, a.WRAP):
            yield "a public key that wraps"
        return
    for wanted in (a.PRIVATE, a.SENSITIVE, a.ALWAYS_SENSITIVE, a.NEVER_EXTRACTABLE, a.LOCAL):
        if not _is_set(key, wanted):
            yield f"{wanted.name} is not set"
    uses = [use for use in (a.SIGN, a.DERIVE, a.ENCRYPT, a.DECRYPT, a.WRAP, a.UNWRAP)
            if _is_set(key, use)]  # fmt: skip
    if _is_set(key, a.EXTRACTABLE):
        yield "EXTRACTABLE is set"
    if a.WRAP in uses and uses != [a.WRAP, a.UNWRAP]:
        yield "it wraps, and is good for more than unwrapping"
    if a.DERIVE in uses or (a.SIGN in uses and len(uses) > 1):
        yield "it has more than one use"
    if a.WRAP in uses and key[a.LABEL] != KEK:
        yield "it wraps, and is not the key-encryption key"
    for attribute, value in ((a.EXTRACTABLE, True), (a.SENSITIVE, False)):
        if _can_be_set(key, attribute, value):
            yield f"{attribute.name} can be changed"


def _is_set(key: Any, attribute: Any) -> bool:
    pkcs11 = binding()
    try:
        return bool(key[attribute])
    except (pkcs11.AttributeTypeInvalid, pkcs11.FunctionFailed):
        return False  # this kind of key has no such attribute


def _can_be_set(key: Any, attribute: Any, value: bool) -> bool:
    try:
        key[attribute] = value
    except binding().PKCS11Error:
        return False
    return True


def _judge_wrapping(session: Any, kek: Any) -> None:
    pkcs11, curve = binding(), CURVES[SECP256K1]
    made = make_wrapped_key(session, kek, curve)
    if made is None:
        raise Refused(Reason.WEAK_KEY, "the token does not wrap keys")
    for wish in ({"EXTRACTABLE": True}, {"SENSITIVE": False}):
        try:
            readable = unwrap(kek, made[1], curve, **wish)
        except pkcs11.PKCS11Error:
            continue
        readable.destroy()
        raise Refused(Reason.WEAK_KEY, f"the key-encryption key unwraps with {wish}")
