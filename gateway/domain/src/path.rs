//! Where a secret lives in its vault, and patterns over such paths.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Error, Result};

/// Characters of a path, at most.
const MAX_LENGTH: usize = 512;

/// Segments of `[A-Za-z0-9_-]` joined by single slashes, none empty, at most 512 characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Debug)]
#[serde(transparent)]
pub struct SecretPath(String);

/// A pattern over paths: `*` stands for one segment, `**` for any number of them, none included.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Debug)]
#[serde(transparent)]
pub struct PathGlob(String);

fn plain(segment: &str) -> bool {
    !segment.is_empty() && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

impl SecretPath {
    /// # Errors
    /// `Invalid`, naming `path`.
    pub fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_LENGTH {
            return Err(Error::invalid("path", format!("must have at most {MAX_LENGTH} characters")));
        }
        if !text.split('/').all(plain) {
            return Err(Error::invalid(
                "path",
                "must be segments of letters, digits, '_' and '-', joined by single slashes, such as keys/base-signer",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PathGlob {
    /// # Errors
    /// `Invalid`, naming `field`.
    pub fn parse(field: &str, text: &str) -> Result<Self> {
        let fits = text.len() <= MAX_LENGTH && text.split('/').all(|s| s == "*" || s == "**" || plain(s));
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::invalid(
                field,
                "must be a path whose segments may be * (one segment) or ** (any number), such as keys/** or api/*/token",
            ))
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the pattern covers the path. Takes time in the product of their lengths at most.
    pub fn matches(&self, path: &SecretPath) -> bool {
        let pattern: Vec<&str> = self.0.split('/').collect();
        let path: Vec<&str> = path.0.split('/').collect();
        covers(&pattern, &path)
    }

    /// Whether every path that `inner` covers is covered by this pattern.
    pub fn includes(&self, inner: &Self) -> bool {
        covers(&wildcards_sorted(&self.0), &wildcards_sorted(&inner.0))
    }
}

/// `segments` are a path's or a pattern's: a `**` among them is covered by a `**` alone, a `*` by either.
fn covers(pattern: &[&str], segments: &[&str]) -> bool {
    let (mut p, mut s) = (0, 0);
    // The last `**` seen, and the segment up to which it reaches so far.
    let mut star: Option<(usize, usize)> = None;
    while s < segments.len() {
        match pattern.get(p) {
            Some(&"**") => {
                star = Some((p, s));
                p += 1;
            }
            Some(&part) if part == segments[s] || (part == "*" && segments[s] != "**") => {
                p += 1;
                s += 1;
            }
            _ => match star {
                Some((at, reach)) => {
                    star = Some((at, reach + 1));
                    p = at + 1;
                    s = reach + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|part| *part == "**")
}

/// A pattern's segments, in each run of wildcards those for one segment first: `**/*` and `*/**` mean the same.
fn wildcards_sorted(pattern: &str) -> Vec<&str> {
    let mut segments: Vec<&str> = pattern.split('/').collect();
    for run in segments.chunk_by_mut(|a, b| a.starts_with('*') && b.starts_with('*')) {
        run.sort_unstable();
    }
    segments
}

impl std::fmt::Display for SecretPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::fmt::Display for PathGlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse(&text).map_err(|e| serde::de::Error::custom(e.detail()))
    }
}

impl<'de> Deserialize<'de> for PathGlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        Self::parse("pattern", &text).map_err(|e| serde::de::Error::custom(e.detail()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths() {
        for good in ["a", "keys/base-signer", "A_1/b-2/c", &"a/".repeat(255), &"a".repeat(512)] {
            let good = good.trim_end_matches('/');
            assert!(SecretPath::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", "/", "a/", "/a", "a//b", "a/../b", "a.b", "a b", "ä", "a%2fb", "a\0", &"a".repeat(513)]
        {
            assert!(SecretPath::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    fn glob(text: &str) -> PathGlob {
        PathGlob::parse("scope", text).unwrap()
    }

    #[test]
    fn patterns_within_patterns() {
        for (outer, inner) in [
            ("**", "**"),
            ("**", "a/*/b"),
            ("keys/**", "keys"),
            ("keys/**", "keys/*/deep/**"),
            ("a/**/b", "a/x/**/y/b"),
            ("*/**", "**/*"),
            ("**/*/a", "*/a"),
        ] {
            assert!(glob(outer).includes(&glob(inner)), "{inner} is within {outer}");
        }
        for (outer, inner) in [
            ("keys/*", "keys/**"),
            ("keys/*", "*/a"),
            ("keys/a", "keys/*"),
            ("keys/**", "**"),
            ("*", "**"),
            ("a/**/b", "a/**"),
        ] {
            assert!(!glob(outer).includes(&glob(inner)), "{inner} is not within {outer}");
        }
    }

    /// The definition, word for word, with no care for speed.
    fn plainly(pattern: &[&str], path: &[&str]) -> bool {
        match (pattern.split_first(), path.split_first()) {
            (None, None) => true,
            (Some((&"**", rest)), _) => (0..=path.len()).any(|n| plainly(rest, &path[n..])),
            (Some((&"*", rest)), Some((_, path))) => plainly(rest, path),
            (Some((part, rest)), Some((segment, path))) => part == segment && plainly(rest, path),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn what_is_within_covers_nothing_else(
            patterns in proptest::collection::vec(
                proptest::collection::vec(prop_oneof!["a", "b", Just("*".to_owned()), Just("**".to_owned())], 1..5), 2),
            path in proptest::collection::vec("[abc]", 1..7),
        ) {
            let [outer, inner] = [0, 1].map(|n| glob(&patterns[n].join("/")));
            let path = SecretPath::parse(&path.join("/")).unwrap();
            prop_assert!(!outer.includes(&inner) || !inner.matches(&path) || outer.matches(&path));
        }

        #[test]
        fn globs_match_as_defined(
            pattern in proptest::collection::vec(prop_oneof!["a", "b", Just("*".to_owned()), Just("**".to_owned())], 1..7),
            path in proptest::collection::vec("[ab]", 1..7),
        ) {
            let glob = PathGlob::parse("scope", &pattern.join("/")).unwrap();
            let at = SecretPath::parse(&path.join("/")).unwrap();
            let pattern: Vec<&str> = pattern.iter().map(String::as_str).collect();
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            prop_assert_eq!(glob.matches(&at), plainly(&pattern, &path));
        }
    }
}
