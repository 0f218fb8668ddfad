//! What the letters say. Names that others chose are cut down to what can't be taken for a text or a link of ours.

use domain::SecretText;

use super::Letter;

/// A letter, ready to be put into an envelope.
#[derive(Debug)]
pub struct Written {
    pub subject: &'static str,
    /// May hold a one-time link.
    pub body: SecretText,
}

/// Of a name in a letter, in characters.
const NAME: usize = 60;

/// A stranger may have chosen it, and the reader knows our sender: no dots, slashes or line ends, so no links, no
/// sentences.
fn plain(name: &str) -> String {
    let fits = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    name.chars().filter(fits).take(NAME).collect()
}

/// Writes a letter. `link` is what it carries, where it carries one.
pub fn write(letter: &Letter, link: Option<&SecretText>, public_url: &str) -> Written {
    let link = link.map(SecretText::expose).unwrap_or_default();
    let (subject, text) = match letter {
        Letter::Welcome => (
            "Welcome to Talon",
            format!(
                "Your account is ready. Log in with this email and your password: in a client that you give the address \
                 {public_url}, or by POST to {public_url}/v1/auth/token."
            ),
        ),
        Letter::WelcomeWithGoogle => (
            "Welcome to Talon",
            format!(
                "Your account is ready. Log in with Google, with this email, where your organisation signs people in. \
                 Clients are given the address {public_url}."
            ),
        ),
        Letter::Verification { .. } => (
            "Confirm your address",
            format!(
                "Somebody, most likely you, signed up with this address. To confirm that it is yours, open this page \
                 and enter the password that you chose (the link is good once, for 24 hours):\n\n{link}\n\nIf you did \
                 not sign up, do nothing: there is no account until the page is used."
            ),
        ),
        Letter::Invitation { organisation, by, .. } => (
            "You are invited",
            format!(
                "\"{}\" invites you to join the organisation \"{}\". To do so, open this page (the link is good once, \
                 for 7 days):\n\n{link}\n\nIf you don't know them, do nothing.",
                plain(by),
                plain(organisation)
            ),
        ),
        Letter::Joined { organisation } => (
            "You have joined an organisation",
            format!(
                "You are now in the organisation \"{}\", and have left the one before. If this was not you, change the \
                 password that you log in with, here or at Google, at once.",
                plain(organisation)
            ),
        ),
        Letter::AgentCredentials { name, .. } => (
            "An agent asks for its key",
            format!(
                "An agent that calls itself \"{}\" has enrolled with this address. It may do nothing yet, and has no \
                 key. If you know it, open this page to get the key, and give it to the agent yourself (the link is \
                 good once, for 24 hours):\n\n{link}\n\nIf you don't know it, do nothing, or delete the agent: it can \
                 never log in.",
                plain(name)
            ),
        ),
        Letter::PasswordChanged => (
            "Your password was changed",
            "The password of your account was changed, and everybody who was logged in with the old one is logged \
             out. If this was not you, ask for a new password at once, and tell an owner of your organisation."
                .to_owned(),
        ),
        Letter::PasswordReset => (
            "A new password",
            format!(
                "Somebody, most likely you, asked for a new password for your account. To choose one, open this page \
                 (the newest link alone is good, once, for 30 minutes):\n\n{link}\n\nIf you did not ask, do nothing: \
                 your password stays."
            ),
        ),
        Letter::ApiKeyCreated { name } => (
            "A personal API key was made",
            format!(
                "A personal API key named \"{}\" was made for your account. If this was not you, revoke it and change \
                 the password that you log in with, here or at Google.",
                plain(name)
            ),
        ),
        Letter::SecondFactor { on: true } => (
            "Your second factor is on",
            "From now on logging in takes a code as well. If this was not you, tell an owner of your organisation at once."
                .to_owned(),
        ),
        Letter::SecondFactor { on: false } => (
            "Your second factor is off",
            "From now on logging in takes no code. If this was not you, change the password that you log in with, here \
             or at Google, at once and switch the second factor on again."
                .to_owned(),
        ),
        Letter::Passkey { name, added: true } => (
            "A passkey was added",
            format!(
                "A passkey named \"{}\" was added to your account. If this was not you, tell an owner of your \
                 organisation at once.",
                plain(name)
            ),
        ),
        Letter::Passkey { name, added: false } => (
            "A passkey was taken away",
            format!(
                "The passkey named \"{}\" was taken from your account. If this was not you, tell an owner of your \
                 organisation at once.",
                plain(name)
            ),
        ),
        Letter::AccountDeleted => (
            "Your account is deleted",
            "Your account was deleted, with what belonged to it. The address can sign up again.".to_owned(),
        ),
        Letter::ApprovalRequested { approval, by, path } => (
            "An approval is asked for",
            format!(
                "\"{}\" asks to read the secret at \"{}\". If you know why, approve it; else deny it. With your own token (or a \
                 personal API key without scopes), send POST to one of\n\n\
                 {public_url}/v1/approvals/{approval}/approve\n\
                 {public_url}/v1/approvals/{approval}/deny\n\n\
                 GET {public_url}/v1/approvals/{approval} shows the request. Until an owner or admin decides, it is not read.",
                plain(by),
                path
            ),
        ),
        Letter::TransactionWaits { approval, by, summary } => (
            "A transaction waits for your approval",
            format!(
                "The agent \"{}\" asks to have this signed and sent:\n\n{}\n\nIf you know why, approve it; else deny it: log in, \
                 look for the request {approval} among the approvals, and read there what exactly is signed. Until people \
                 have approved it, it is not.",
                plain(by),
                summary
            ),
        ),
        Letter::Shared { share, by } => (
            "A secret was shared with you",
            format!(
                "\"{}\" shares a secret with you. To see it, open this page and log in with an account of this address \
                 (sign up, if you have none):\n\n{public_url}/share/{share}\n\nIt may be shown a limited number of times, \
                 and not for ever. If it asks for a passphrase, whoever shared it knows it. If you don't know them, do \
                 nothing.",
                plain(by)
            ),
        ),
        Letter::ShareAccessed { path, times, in_all } => (
            "What you have shared was opened",
            format!(
                "The secret at {path} was opened by a share of yours, {times} times since the last mail like this, {in_all} \
                 in all. If this should not be, take the share back, and give the secret a new value."
            ),
        ),
    };
    finished(subject, &text, public_url)
}

/// To whoever signed up with an address that has an account: the answer to the request said nothing of it.
pub fn has_an_account(public_url: &str) -> Written {
    finished(
        "You have an account already",
        "Somebody, most likely you, tried to sign up with this address, which has an account. Log in with it; if you \
         have lost the password, ask for a new one. If this was not you, do nothing.",
        public_url,
    )
}

/// To whoever asked for a new password and has none.
pub fn has_no_password(public_url: &str) -> Written {
    finished(
        "You log in without a password",
        "Somebody, most likely you, asked for a new password for your account, which has none: log in with Google, as \
         you did before. If this was not you, do nothing.",
        public_url,
    )
}

fn finished(subject: &'static str, text: &str, public_url: &str) -> Written {
    let body = format!(
        "{text}\n\n-- \nTalon at {public_url}\nThis mail was sent by a machine; nobody reads answers.\n"
    );
    Written { subject, body: SecretText::from(body) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_welcome_says_where_to_log_in() {
        for (letter, told) in [
            (Letter::Welcome, "POST to https://vault.example.org/v1/auth/token."),
            (Letter::WelcomeWithGoogle, "the address https://vault.example.org."),
        ] {
            let written = write(&letter, None, "https://vault.example.org");
            let body = written.body.expose();
            assert!(body.contains(told), "{body}");
        }
    }

    #[test]
    fn who_logs_in_with_google_is_told_of_no_password_here() {
        let (on, off) = (Letter::SecondFactor { on: true }, Letter::SecondFactor { on: false });
        let key = Letter::ApiKeyCreated { name: "ci".to_owned() };
        let joined = Letter::Joined { organisation: "acme".to_owned() };
        for letter in [on, off, key, joined, Letter::WelcomeWithGoogle] {
            let written = write(&letter, None, "https://vault.example.org");
            let body = written.body.expose();
            assert!(!body.contains("your password"), "{body}");
        }
    }

    #[test]
    fn a_strangers_name_is_neither_link_nor_text() {
        let name = "Talon\r\n\r\nYour account is locked. Go to https://evil.example/x\"".to_owned();
        let letter = Letter::AgentCredentials { agent: domain::AgentId::new(), name };
        let written = write(&letter, Some(&SecretText::from("https://a/enrolled#t".to_owned())), "https://a");
        let body = written.body.expose();
        assert!(!body.contains("evil.example") && body.contains("https://a/enrolled#t"), "{body}");
        assert!(body.contains("\"TalonYour account is locked Go to httpsevilexamplex\""), "{body}");
    }
}
