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
    whom: dict[tuple[Per, ...], tuple[str, str]] = {}
    for number in policy.index.buckets.candidates(seen):
        bucket = buckets[number]
        found = fits(bucket.scope, seen)
        if found == NO:
            continue
        if bucket.per not in whom:
            whom[bucket.per] = _whom(bucket.per, seen)
        absent, key = whom[bucket.per]
        if found != YES or absent:
            yield bucket, absent if found == YES else found
            continue
        if bucket.unit is Unit.USD:
            cap = bucket.cap.at_most(USD_SCALE)
            amount = cap + 1 if seen.usd is None else seen.usd
        else:
            cap, amount = bucket.cap.at_most(seen.scale), seen.amount
        yield bucket, Charge(bucket.id, f"{bucket.id}/{key}", amount, cap, bucket.window_ns)


def _whom(pers: tuple[Per, ...], seen: View) -> tuple[str, str]:
    """Return the first absent field, and whom a request is counted for as `customer=7`."""
    parts = []
    for per in pers:
        values = [seen.values[field] for field in _FIELDS[per]]
        if () in values:
            return _FIELDS[per][values.index(())], ""
        if per is not Per.GLOBAL:
            parts.append(f"{per.value}={':'.join(_escaped(one) for (one,) in values)}")
    return "", ",".join(parts) or Per.GLOBAL.value


def _escaped(text: str) -> str:
    return text if text.isalnum() else text.translate(_ESCAPES)
