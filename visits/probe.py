"""The right to send a probe: who can read the store's salt of today may, without any token.

A probe goes the whole way of a view and changes no number; even so, strangers must not fill the log with them.
"""

from __future__ import annotations

from hashlib import blake2b

PROOF_BYTES = 16
"""128 bits: guessed at by nobody in the minutes that a proof is good for."""

SKEW_MS = 5 * 60_000
"""How far the moment of a probe may lie from ingest's clock."""

_PERSON = b"vc-probe"
"""Keeps proofs apart from the pseudonyms that the same salt makes (BLAKE2b "personalization", RFC 7693 section 2.8)."""


def probe_proof(salt: bytes, site: str, probe_id: str, at: int) -> str:
    """Return the proof that the sender of a probe can read the salt of the local day of `at` (Unix milliseconds)."""
    message = f"{site}\x00{probe_id}\x00{at}".encode()
    return blake2b(message, digest_size=PROOF_BYTES, key=salt, person=_PERSON).hexdigest()
