//! Bytes to authenticate, unambiguous: no two lists of parts give the same bytes.

use sha2::{Digest as _, Sha256};

/// Each part with its length (64 bits, big-endian) in front.
pub fn length_prefixed(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(parts.iter().map(|part| part.len() + 8).sum());
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
        bytes.extend_from_slice(part);
    }
    bytes
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::length_prefixed;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn other_parts_give_other_bytes(a: Vec<Vec<u8>>, b: Vec<Vec<u8>>) {
            let joined = |parts: &[Vec<u8>]| length_prefixed(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(joined(&a) == joined(&b), a == b);
        }

        #[test]
        fn a_moved_boundary_gives_other_bytes(text in "[a-z]{2,20}", cut in 1usize..19) {
            let cut = cut.min(text.len() - 1);
            let (left, right) = text.as_bytes().split_at(cut);
            prop_assert_ne!(length_prefixed(&[left, right]), length_prefixed(&[text.as_bytes(), b""]));
        }
    }
}
