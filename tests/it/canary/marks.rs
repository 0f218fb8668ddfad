//! What must not be found, in every form that it may have been given.

use std::collections::HashMap;

use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{Engine as _, GeneralPurpose, general_purpose::NO_PAD};
use harness::{Value, json};

use super::{KEY, VALUE};

/// All that must not be found, by what it is.
pub struct Marks {
    /// Whether any begins with these two bytes: asked first, for each byte of a memory.
    starts: Box<[bool; 1 << 16]>,
    /// By their first four bytes.
    forms: HashMap<[u8; 4], Vec<(String, Vec<u8>)>>,
}

impl Marks {
    pub fn new(secrets: &[(&str, &[u8])]) -> Self {
        let mut marks = Self { starts: Box::new([false; 1 << 16]), forms: HashMap::new() };
        for (name, bytes) in secrets {
            marks.add(name, "as it is", bytes.to_vec());
            marks.add(name, "in hex", hex::encode(bytes).into_bytes());
            marks.add(name, "in HEX", hex::encode_upper(bytes).into_bytes());
            if let Ok(text) = std::str::from_utf8(bytes) {
                marks.add(name, "in JSON", escaped(text).into_bytes());
                marks.add(name, "in a URL", percent(text).into_bytes());
            }
            for (form, alphabet) in [("in base64", STANDARD), ("in base64url", URL_SAFE)] {
                let encoder = GeneralPurpose::new(&alphabet, NO_PAD);
                // Wherever it begins among three bytes; what neighbours decide is cut off.
                for before in 0..3 {
                    let whole = encoder.encode([&[0; 3][..before], bytes].concat());
                    let (from, to) = ([0, 2, 3][before], whole.len() - 2);
                    marks.add(name, form, whole.as_bytes()[from..to].to_vec());
                }
            }
        }
        marks
    }

    fn add(&mut self, name: &str, form: &str, bytes: Vec<u8>) {
        self.starts[pair(&bytes)] = true;
        let entry = self.forms.entry(*bytes.first_chunk().unwrap()).or_default();
        if !entry.iter().any(|(_, known)| *known == bytes) {
            entry.push((format!("{name} {form}"), bytes));
        }
    }

    /// What is found of them.
    pub fn within(&self, haystack: &[u8]) -> Vec<&str> {
        let mut found: Vec<_> = self.places(haystack).into_iter().map(|(_, name)| name).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Where each of them is found.
    pub fn places(&self, haystack: &[u8]) -> Vec<(usize, &str)> {
        let mut found = Vec::new();
        for at in 0..haystack.len().saturating_sub(3) {
            if !self.starts[pair(&haystack[at..])] {
                continue;
            }
            let Some(forms) = haystack[at..].first_chunk().and_then(|start| self.forms.get(start)) else {
                continue;
            };
            found.extend(
                forms
                    .iter()
                    .filter(|(_, form)| haystack[at..].starts_with(form))
                    .map(|(name, _)| (at, name.as_str())),
            );
        }
        found
    }

    pub fn absent(&self, place: &str, haystack: &[u8]) {
        let found = self.within(haystack);
        assert!(found.is_empty(), "{place} holds {found:?}");
    }
}

fn pair(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

pub fn escaped(text: &str) -> String {
    let whole = Value::from(text).to_string();
    whole[1..whole.len() - 1].to_owned()
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[test]
fn what_is_hidden_is_found() {
    let marks = Marks::new(&[("the value", VALUE.as_bytes()), ("the key", &hex::decode(KEY).unwrap())]);
    let hidden = |bytes: &[u8]| [b"before it \xff", bytes, b" and after"].concat();
    let raw = hex::decode(KEY).unwrap();
    for bytes in [VALUE.as_bytes(), &raw] {
        let standard = GeneralPurpose::new(&STANDARD, NO_PAD);
        for form in [bytes.to_vec(), hex::encode(bytes).into(), hex::encode_upper(bytes).into()] {
            assert_eq!(marks.within(&hidden(&form)).len(), 1);
        }
        for before in ["", "a", "ab", "abc"] {
            let inside = standard.encode([before.as_bytes(), bytes, b"zz"].concat());
            assert!(!marks.within(inside.as_bytes()).is_empty(), "{before}");
        }
    }
    assert!(!marks.within(json!({"a": VALUE}).to_string().as_bytes()).is_empty());
    assert!(!marks.within(percent(VALUE).as_bytes()).is_empty());
    assert!(marks.within(b"mArKeD and nothing else").is_empty());
}
