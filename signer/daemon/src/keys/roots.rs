//! Which root wraps a key. A keystore has one root, or two while a rotation is under way.

use super::{KeyError, Result, rejected};

/// The root that an installation begins with.
pub const FIRST: u32 = 1;

/// How a key's wrapped form begins if another root than the first wraps it: this byte, then the root's number.
const MARK: u8 = 2;

/// The roots of a keystore: each rotation makes the next number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Roots {
    /// Wraps whatever is made.
    pub newest: u32,
    /// Unwraps what it wrapped, until it is retired.
    pub older: Option<u32>,
}

impl Roots {
    /// Whether a key must be wrapped anew before the older root can go.
    ///
    /// # Errors
    /// `Rejected` if it is of no root that is here.
    pub fn is_older(self, wrapped: &[u8]) -> Result<bool> {
        match split(wrapped) {
            (root, _) if root == self.newest => Ok(false),
            (root, _) if Some(root) == self.older => Ok(true),
            (root, _) => Err(unknown(root)),
        }
    }
}

/// Says which root wrapped this. What the first one wraps has no mark, as before there were others.
pub fn mark(root: u32, wrapped: Vec<u8>) -> Vec<u8> {
    if root == FIRST { wrapped } else { [&[MARK], &root.to_be_bytes()[..], &wrapped].concat() }
}

/// The root's number, and what it wrapped. All that is wrapped has an even length (AES-GCM of 32 bytes, RFC 3394, RFC 5649), so
/// only what is marked has an odd one.
pub fn split(wrapped: &[u8]) -> (u32, &[u8]) {
    if let Some((&[MARK, a, b, c, d], rest)) = wrapped.split_first_chunk::<5>()
        && wrapped.len() % 2 == 1
    {
        // The first root marks nothing: 0 is no root.
        let root = u32::from_be_bytes([a, b, c, d]);
        return (if root == FIRST { 0 } else { root }, rest);
    }
    (FIRST, wrapped)
}

pub fn unknown(root: u32) -> KeyError {
    rejected(&format!(
        "a wrapped key is of root {root}, which is not in this keystore: it was retired, or is another's"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_says_by_which_root() {
        for length in [0, 40, 60, 72, 1024] {
            let wrapped: Vec<u8> = (0..length).map(|n| MARK.wrapping_add(n as u8)).collect();
            for root in [FIRST, 2, 3, 255, 256, u32::MAX] {
                let marked = mark(root, wrapped.clone());
                assert_eq!(split(&marked), (root, &*wrapped));
                assert_eq!(
                    marked.len() == wrapped.len(),
                    root == FIRST,
                    "those from before stay what they are"
                );
            }
        }
    }

    #[test]
    fn a_root_that_is_not_there_is_none() {
        let roots = Roots { newest: 3, older: Some(2) };
        assert!(!roots.is_older(&mark(3, vec![0; 60])).unwrap());
        assert!(roots.is_older(&mark(2, vec![0; 60])).unwrap());
        for gone in [mark(FIRST, vec![0; 60]), mark(4, vec![0; 60]), vec![], vec![MARK, 0, 0, 0, 1]] {
            assert!(matches!(roots.is_older(&gone), Err(KeyError::Rejected(_))), "{gone:?}");
        }
        // The first root in the clothes of a later one.
        let first = Roots { newest: FIRST, older: None };
        assert!(first.is_older(&[&[MARK, 0, 0, 0, 1][..], &[0; 60]].concat()).is_err());
    }
}
