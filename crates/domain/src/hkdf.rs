//! HKDF-SHA-256 (RFC 5869) with reusable keys.

use std::sync::LazyLock;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// HKDF salt for all values that are derived from a token.
const DERIVATION_SALT: &[u8] = b"tee-session v1";

/// Length in bytes of one output block of HKDF-SHA-256.
const BLOCK_LEN: usize = 32;

/// HMAC state with [`DERIVATION_SALT`] as its key, computed once per process.
///
/// This module implements HKDF with a few calls of HMAC, so that computed keys can be reused.
/// Deriving values is most of the cost of encrypting a record. Reused keys halve this cost,
/// compared with one call of an HKDF library per value.
static SALT: LazyLock<Hmac<Sha256>> = LazyLock::new(|| keyed(DERIVATION_SALT));

/// Pseudorandom key that HKDF-Extract produces and HKDF-Expand uses. The memory of the key is wiped
/// on drop.
pub(crate) type PseudorandomKey = Hmac<Sha256>;

/// Returns the HMAC-SHA-256 state with `key`, which may have any length.
#[expect(
    clippy::expect_used,
    reason = "HMAC takes keys of any length (RFC 2104)"
)]
pub(crate) fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("any length")
}

/// Runs HKDF-Extract with `secret` as the input key material.
pub(crate) fn extract(secret: &[u8]) -> PseudorandomKey {
    let mut extract = SALT.clone();
    extract.update(secret);
    let extracted = Zeroizing::new(<[u8; BLOCK_LEN]>::from(extract.finalize().into_bytes()));
    keyed(extracted.as_slice())
}

/// Runs HKDF-Expand for one output block, and returns its first `N` bytes.
pub(crate) fn expand<const N: usize>(key: &PseudorandomKey, label: &[u8]) -> [u8; N] {
    const { assert!(N <= BLOCK_LEN) };
    let mut expand = key.clone();
    expand.update(label);
    expand.update(&[1]);
    let block = Zeroizing::new(<[u8; BLOCK_LEN]>::from(expand.finalize().into_bytes()));
    let mut value = [0; N];
    value.copy_from_slice(&block[..N]);
    value
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hkdf;

    use super::*;

    /// Compares the keys that this module derives with the keys that the HKDF implementation of
    /// `aws-lc-rs` derives.
    #[test]
    fn derived_keys_match_another_hkdf_implementation() {
        struct Length;
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                BLOCK_LEN
            }
        }
        for secret in [
            "",
            "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
            &"long".repeat(100),
        ] {
            for label in ["", "record key", &"long".repeat(100)] {
                let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, DERIVATION_SALT);
                let prk = salt.extract(secret.as_bytes());
                let mut expected = [0; BLOCK_LEN];
                let info = [label.as_bytes()];
                let okm = prk.expand(&info, Length).unwrap();
                okm.fill(&mut expected).unwrap();
                let derived: [u8; BLOCK_LEN] =
                    expand(&extract(secret.as_bytes()), label.as_bytes());
                assert_eq!(derived, expected);
            }
        }
    }
}
