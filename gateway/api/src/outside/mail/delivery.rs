//! Out of the house: over SMTP (RFC 5321), or into a folder where no server is configured.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::{Error, MailId, Result, SecretText};
use http::Uri;
use lettre::message::Mailbox;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::transport::smtp::response::Code;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::Written;

type Smtp = AsyncSmtpTransport<Tokio1Executor>;

/// Until a server has answered a command.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where mail goes, and from whom it is.
pub struct Post {
    from: Mailbox,
    way: Way,
}

enum Way {
    Smtp(Smtp),
    Outbox(PathBuf),
}

/// What became of one attempt. The reasons are for logs: they hold neither address nor contents.
#[derive(Debug)]
pub enum Outcome {
    Delivered,
    /// Another attempt may do better.
    Later(String),
    /// No attempt will.
    Never(String),
}

/// Whether this names an SMTP server: `smtp://` (STARTTLS is insisted on, but on loopback) or `smtps://`, with a name
/// and a password where it wants them.
pub fn is_smtp_url(text: &str) -> bool {
    transport(text).is_ok()
}

/// Whom mail is from: `Talon <talon@example.org>`, or the address alone.
pub fn sender(text: &str) -> Option<Mailbox> {
    text.parse().ok()
}

impl Post {
    /// # Errors
    /// `Invalid` if it is no server's address.
    pub fn smtp(url: &SecretText, from: Mailbox) -> Result<Self> {
        Ok(Self { from, way: Way::Smtp(transport(url.expose())?) })
    }

    /// Into a folder, which is there.
    pub fn outbox(folder: PathBuf, from: Mailbox) -> Self {
        Self { from, way: Way::Outbox(folder) }
    }

    /// The folder, if that is where mail goes.
    pub fn folder(&self) -> Option<&Path> {
        match &self.way {
            Way::Outbox(folder) => Some(folder),
            Way::Smtp(_) => None,
        }
    }

    /// Tries once. `attempt` tells this message from those of other tries, which carry other links.
    pub async fn send(&self, id: MailId, attempt: u64, to: &str, letter: Written) -> Outcome {
        let Ok(to) = to.parse::<Address>() else {
            return Outcome::Never("the recipient's address can't be mailed to".to_owned());
        };
        let message = match self.message(id, attempt, to, letter) {
            Ok(message) => message,
            Err(error) => return Outcome::Never(error.to_string()),
        };
        match &self.way {
            Way::Smtp(server) => over(server, message).await,
            Way::Outbox(folder) => into(folder.join(format!("{id}.eml")), message).await,
        }
    }

    fn message(
        &self,
        id: MailId,
        attempt: u64,
        to: Address,
        letter: Written,
    ) -> Result<Message, lettre::error::Error> {
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(letter.subject)
            .message_id(Some(format!("<{id}.{attempt}@{}>", self.from.email.domain())))
            // RFC 3834 §5: nobody's holiday answers it.
            .raw_header(HeaderValue::new(
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .header(ContentType::TEXT_PLAIN)
            .body(letter.body.expose().to_owned())
    }
}

fn transport(url: &str) -> Result<Smtp> {
    let wrong = || Error::invalid("smtp_url", "must be smtp(s)://[USER:PASSWORD@]HOST[:PORT]");
    let parsed: Uri = url.parse().map_err(|_| wrong())?;
    let host = parsed.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
    if parsed.path_and_query().is_some_and(|rest| rest.as_str() != "/") {
        return Err(wrong());
    }
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let loopback =
        address == "localhost" || address.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let url = match parsed.scheme_str() {
        Some("smtps") => url.to_owned(),
        Some("smtp") if loopback => url.to_owned(),
        // Links into accounts are in these mails: never in the clear, whatever the server offers.
        Some("smtp") => format!("{}/?tls=required", url.trim_end_matches('/')),
        _ => return Err(wrong()),
    };
    let builder = Smtp::from_url(&url).map_err(|_| wrong())?;
    Ok(builder.timeout(Some(PATIENCE)).build())
}

async fn over(server: &Smtp, message: Message) -> Outcome {
    match server.send(message).await {
        Ok(_) => Outcome::Delivered,
        Err(error) => match error.status() {
            // What the server says may repeat the address: its number will do.
            Some(code) if error.is_permanent() && refuses_the_mail(code) => {
                Outcome::Never(format!("the server refuses it ({code})"))
            }
            Some(code) => Outcome::Later(format!("the server answers {code}")),
            None if error.is_timeout() => Outcome::Later("the server does not answer in time".to_owned()),
            None if error.is_tls() => Outcome::Later("TLS with the server fails".to_owned()),
            None => Outcome::Later("the server can't be reached".to_owned()),
        },
    }
}

/// 550 to 559 are about this mail (RFC 5321 §4.2.3); other refusals, such as of a password, are about us, and an operator
/// may put them right.
fn refuses_the_mail(code: Code) -> bool {
    let number = code.to_string();
    number.starts_with("55")
}

/// Under its name there is the whole file, or none.
async fn into(file: PathBuf, message: Message) -> Outcome {
    let write = move || {
        let unfinished = file.with_extension("new");
        let mut open = std::fs::OpenOptions::new();
        let mut out = open.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
        out.write_all(&message.formatted())?;
        out.sync_all()?;
        std::fs::rename(&unfinished, &file)
    };
    match tokio::task::spawn_blocking(write).await.map_err(std::io::Error::other).flatten() {
        Ok(()) => Outcome::Delivered,
        Err(error) => Outcome::Later(format!("the outbox can't be written: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_smtp_and_encrypted_but_on_loopback() {
        let _another_may_be_installed = rustls::crypto::aws_lc_rs::default_provider().install_default();
        for good in [
            "smtp://127.0.0.1:2525",
            "smtp://[::1]",
            "smtp://localhost/",
            "smtps://mail.example.org",
            "smtp://ada%40example.org:p%2Fw@mail.example.org:587",
        ] {
            assert!(is_smtp_url(good), "{good}");
        }
        for bad in
            ["", "mail.example.org", "http://mail.example.org", "smtp://", "smtp://a/b", "smtp://a?tls=none"]
        {
            assert!(!is_smtp_url(bad), "{bad}");
        }
        let shown = |url| format!("{:?}", transport(url).unwrap());
        assert!(
            shown("smtp://mail.example.org").contains("Required"),
            "{}",
            shown("smtp://mail.example.org")
        );
        assert!(shown("smtp://127.0.0.1:2525").contains("None"));
    }

    #[test]
    fn headers_hold_one_line_whatever_is_in_them() {
        let from = sender("Talon <talon@example.org>").unwrap();
        let post = Post::outbox(PathBuf::new(), from);
        let letter =
            Written { subject: "A\r\nBcc: eve@example.org", body: SecretText::from("text".to_owned()) };
        let to = "ada@example.org".parse().unwrap();
        let message = post.message(MailId::new(), 1, to, letter).unwrap().formatted();
        let text = String::from_utf8(message).unwrap();
        assert!(!text.lines().any(|line| line.to_lowercase().starts_with("bcc")), "{text}");
        for bad in ["a@b.c\r\nBcc: x@y.z", "a@b.c>\r\nRCPT TO:<x@y.z", "a b@c.d"] {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
    }
}
