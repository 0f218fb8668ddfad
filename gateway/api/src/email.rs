//! Emails, as they are compared and counted: one way, for whoever logs in and for whoever signs up.

use domain::unseen::is_invisible;
use domain::{Error, Result};
use unicode_normalization::UnicodeNormalization as _;

const RULE: &str = "must be an email address such as ada@example.org";
/// What needs quotes in an address (RFC 5322 §3.2.3): whoever has such a one can't be mailed to by most servers.
const SPECIAL: &str = "()<>[]:;\\,\"";
const PLAIN: &str = "must be written plainly: no full-width, ligature or invisible characters, and accented letters \
                     composed; type it by hand";

/// Bytes of what is looked at as an address at all: folding one costs by its length.
const LONGEST: usize = 1024;

/// An email as it is kept: trimmed and lower-cased. One that something could take for another is none, so that no two
/// accounts are counted as one: what is kept is [`folded`] already.
///
/// # Errors
/// `Invalid`, naming the field.
pub fn parse(field: &str, text: &str) -> Result<String> {
    if text.len() > LONGEST {
        return Err(Error::invalid(field, RULE));
    }
    let email: String = text.trim().chars().flat_map(char::to_lowercase).collect();
    let fits = email.len() <= 254
        && email.split_once('@').is_some_and(|(local, host)| {
            !local.is_empty() && host.contains('.') && [local, host].iter().all(|part| is_dotted(part))
        })
        && email.matches('@').count() == 1
        && !email.chars().any(|c| c.is_whitespace() || c.is_control() || SPECIAL.contains(c));
    if !fits {
        return Err(Error::invalid(field, RULE));
    }
    if folded(text) == email && folded(&email) == email {
        Ok(email)
    } else {
        Err(Error::invalid(field, PLAIN))
    }
}

/// No dot at an end, and none beside another (RFC 5322 §3.2.3).
fn is_dotted(part: &str) -> bool {
    part.split('.').all(|atom| !atom.is_empty())
}

/// An email as guesses at its account are counted: whatever a mail server or a careless comparison could take for the
/// same is the same. What is too long to be one counts as one account, that nobody has.
pub fn folded(text: &str) -> String {
    if text.len() > LONGEST {
        return String::new();
    }
    let counts = |c: &char| !c.is_whitespace() && !c.is_control() && !is_invisible(*c);
    // Some of what is left out keeps a letter and its accent apart: without it they are put together.
    let folded = text.nfkc().flat_map(char::to_lowercase).filter(counts).collect::<String>();
    folded.nfkc().filter(counts).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_account_however_it_is_spelt() {
        let ada = folded("ada@example.org");
        for spelt in [
            " ADA@example.org ",
            "a da@example.org\t",
            "ａｄａ@example.org",
            "ada@\u{200b}example.org",
            "Ada@EXAMPLE.org\u{feff}",
            "\u{1d41a}da@example.org",
            "ada\u{fe0f}@exam\u{34f}ple.org\u{e0061}",
        ] {
            assert_eq!(folded(spelt), ada, "{spelt:?}");
        }
        // The sign for kelvin is a K, and a composed letter is the same as a decomposed one.
        assert_eq!(folded("\u{212a}@x.y"), folded("k@x.y"));
        assert_eq!(folded("e\u{301}@x.y"), folded("É@x.y"));
        assert_eq!(folded("e\u{34f}\u{301}@x.y"), folded("É@x.y"));
        assert_ne!(folded("ada@example.com"), ada);
    }

    /// What is not folded is no address: nobody gets around a lock by the spaces in front.
    #[test]
    fn what_is_too_long_to_be_counted_is_no_address() {
        let padded = |spaces: usize| format!("{}ada@example.org", " ".repeat(spaces));
        let most = LONGEST - "ada@example.org".len();
        assert_eq!(folded(&padded(most)), parse("email", &padded(most)).unwrap());
        assert_eq!(folded(&padded(most + 1)), "");
        assert!(parse("email", &padded(most + 1)).is_err());
    }

    #[test]
    fn a_look_alike_is_no_email_and_other_letters_are() {
        for plain in
            [" Ada@Example.org\n", "ÉMILE@x.fr", "ΑΣ@x.gr", "иван@пример.рф", "a+b@x.y", "straße@x.de"]
        {
            let email = parse("email", plain).unwrap_or_else(|error| panic!("{plain:?}: {error}"));
            assert_eq!(folded(plain), email);
        }
        for odd in [
            "vic\u{200b}tim@x.y",
            "ａda@x.y",
            "e\u{301}mile@x.fr",
            "o\u{fb03}ce@x.y",
            "a\u{ad}da@x.y",
            "a@x\u{2060}.y",
            "ada\u{fe0f}@x.y",
            "ada@x\u{3164}.y",
            "ada@x.y\u{e0061}",
        ] {
            let error = parse("human_email", odd).unwrap_err().to_string();
            assert!(error.contains("human_email: must be written plainly"), "{odd:?}: {error}");
        }
        for none in [
            "a,b@x.y", "<a@x.y", "a@x.org>", "a..b@x.y", ".a@x.y", "a.@x.y", "ada", "@x.y", "a@b", "a@@x.y",
            "a b@x.y", "a@.y", "a@x.",
        ] {
            assert!(parse("email", none).unwrap_err().to_string().contains("must be an email"), "{none}");
        }
    }

    proptest! {
        /// Two accounts are never counted as one.
        #[test]
        fn what_is_kept_is_counted_as_itself(text in "[ \\PC]{1,12}@\\PC{1,6}\\.[a-zA-Z\u{fb00}-\u{fb06}]{1,3}") {
            if let Ok(email) = parse("email", &text) {
                prop_assert_eq!(folded(&text), email.clone());
                prop_assert_eq!(folded(&email), email.clone());
                prop_assert_eq!(parse("email", &email).ok(), Some(email));
            }
        }
    }
}
