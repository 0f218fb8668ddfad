//! What a password must be. Hashing is the gateway's, checking the signer's.

use crate::{Error, Result, SecretText};

/// At least 12 characters (at most 1,024) with upper, lower, digit and symbol; no three equal or sequential
/// characters in a row.
///
/// # Errors
/// `Invalid`, naming the field and every rule that the password breaks, never the password.
pub fn check(field: &str, password: &SecretText) -> Result<()> {
    let text: Vec<char> = password.expose().chars().collect();
    let mut broken = Vec::new();
    if text.len() < 12 {
        broken.push("at least 12 characters");
    }
    if text.len() > 1024 {
        broken.push("at most 1,024 characters");
    }
    if !text.iter().any(|c| c.is_uppercase()) {
        broken.push("an upper-case letter");
    }
    if !text.iter().any(|c| c.is_lowercase()) {
        broken.push("a lower-case letter");
    }
    if !text.iter().any(|c| c.is_numeric()) {
        broken.push("a digit");
    }
    if text.iter().all(|c| c.is_alphanumeric()) {
        broken.push("a symbol");
    }
    if text.windows(3).any(|w| runs(w, 0) || runs(w, 1) || runs(w, -1)) {
        broken.push("no three equal or sequential characters in a row");
    }
    if broken.is_empty() {
        Ok(())
    } else {
        Err(Error::invalid(field, format!("needs {}", broken.join(", "))))
    }
}

/// Whether each character follows the one before by `step`. Steps other than 0 count in letters and digits alone.
fn runs(window: &[char], step: i64) -> bool {
    let code = |c: char| i64::from(u32::from(c.to_ascii_lowercase()));
    (step == 0 || window.iter().all(char::is_ascii_alphanumeric))
        && window.windows(2).all(|pair| code(pair[1]) - code(pair[0]) == step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules() {
        let check = |text: &str| check("new_password", &SecretText::from(text.to_owned()));
        assert!(check("Tr0ub4dor&Zebra").is_ok());
        for (bad, rule) in [
            ("Sh0rt!", "12 characters"),
            ("tr0ub4dor&zebra", "upper"),
            ("TR0UB4DOR&ZEBRA", "lower"),
            ("Troubador&Zebra", "digit"),
            ("Tr0ub4dor8Zebra", "symbol"),
            ("Tr0ub4dor&Zeeebra", "three equal"),
            ("Tr0ub4dor&Zabcbra", "sequential"),
            ("Tr0ub4dor&Z987bra", "sequential"),
        ] {
            let error = check(bad).expect_err(bad);
            assert!(error.detail().starts_with("new_password: needs "), "{bad}: {error}");
            assert!(error.detail().contains(rule), "{bad}: {error}");
            assert!(!error.to_string().contains(bad));
        }
    }
}
