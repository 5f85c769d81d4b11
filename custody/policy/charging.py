"""What a request takes of the velocity buckets that cover it."""

from __future__ import annotations

from collections.abc import Iterator

from custody.policy.decision import Charge
from custody.policy.matching import NO, YES, fits
from custody.policy.request import USD_SCALE
from custody.policy.rules import Bucket, Per, Policy, Unit
from custody.policy.scope import View

_FIELDS = {
    Per.INITIATOR: ("initiators",),
    Per.CUSTOMER: ("customers",),
    Per.WALLET: ("chains", "wallets"),
    Per.DESTINATION: ("chains", "destinations"),
    Per.ASSET: ("chains", "assets"),
    Per.GLOBAL: (),
}
"""What makes one of each: the same address on another chain is another destination."""
_ESCAPES = str.maketrans({"%": "%25", "/": "%2f", ",": "%2c", "=": "%3d", ":": "%3a"})


def charges_at(policy: Policy, seen: View) -> Iterator[tuple[Bucket, Charge | str]]:
    """Yield every bucket that covers a request with its charge, or with the absent field's name.

    A USD bucket is charged more than its cap when there is no fresh price.
    """
    buckets = policy.buckets
    for number in policy.index.buckets.candidates(seen):
        bucket = buckets[number]
        found = fits(bucket.scope, seen)
        if found == NO:
            continue
        absent = found if found != YES else _absent(bucket, seen)
        yield bucket, absent or _charge(bucket, seen)


def _absent(bucket: Bucket, seen: View) -> str:
    for per in bucket.per:
        for field in _FIELDS[per]:
            if not seen.values[field]:
                return field
    return ""


def _charge(bucket: Bucket, seen: View) -> Charge:
    if bucket.unit is Unit.USD:
        cap = bucket.cap.at_most(USD_SCALE)
        amount = cap + 1 if seen.usd is None else seen.usd
    else:
        cap, amount = bucket.cap.at_most(seen.scale), seen.amount
    return Charge(bucket.id, bucket_key(bucket, seen), amount, cap, bucket.window_ns)


def bucket_key(bucket: Bucket, seen: View) -> str:
    """Return whom a request is counted for, as `daily/customer=7`; parts are escaped."""
    parts = [
        f"{per.value}={':'.join(_escaped(seen.values[field][0]) for field in _FIELDS[per])}"
        for per in bucket.per
        if per is not Per.GLOBAL
    ]
    return f"{bucket.id}/{','.join(parts) or Per.GLOBAL.value}"


def _escaped(text: str) -> str:
    return text if text.isalnum() else text.translate(_ESCAPES)
