//! One-time links: a secret that a mail carries, good once, for one thing.

use std::time::Duration;

use crate::{SecretText, secret};

/// What a ticket is good for. A ticket for one thing is none for another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Shows that an address belongs to whoever signed up with it; its subject is the person who will be.
    VerifyEmail,
    /// A new password; its subject is the person.
    ResetPassword,
    /// The same, by a link that an operator has made: no mail that anybody asks for ends it. To the signer it is the same link.
    Recovery,
    /// Joining an organisation; its subject is the invitation.
    Invitation,
    /// An enrolled agent's key; its subject is the agent.
    AgentKey,
}

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;

impl Purpose {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify_email",
            Self::ResetPassword => "reset_password",
            Self::Recovery => "recovery",
            Self::Invitation => "invitation",
            Self::AgentKey => "agent_key",
        }
    }

    /// How long a ticket is good, from when it is made: with the mail that carries it.
    pub fn lifetime(self) -> Duration {
        Duration::from_secs(match self {
            // OWASP's Forgot Password Cheat Sheet: no longer than it takes to read a mail.
            Self::ResetPassword | Self::Recovery => 30 * MINUTE,
            Self::VerifyEmail | Self::AgentKey => DAY,
            Self::Invitation => 7 * DAY,
        })
    }

    /// The page that the link leads to, on the gateway.
    fn page(self) -> &'static str {
        match self {
            Self::VerifyEmail => "verify",
            Self::ResetPassword | Self::Recovery => "reset",
            Self::Invitation => "join",
            Self::AgentKey => "enrolled",
        }
    }
}

/// SHA-256 of a ticket: all that is stored of it. A ticket is 256 random bits, so there is nothing to guess.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TicketHash([u8; 32]);

impl TicketHash {
    /// Of a ticket as somebody presents it.
    pub fn of(ticket: &SecretText) -> Self {
        Self(secret::sha256(ticket.expose().as_bytes()))
    }

    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A ticket that nobody has yet.
pub struct Ticket(SecretText);

impl Ticket {
    /// 43 characters: the random bytes in base64url.
    pub fn new(random: &[u8; 32]) -> Self {
        Self(secret::api_key("", random))
    }

    pub fn hash(&self) -> TicketHash {
        TicketHash::of(&self.0)
    }

    /// The link for a mail. The ticket is in its fragment, which a browser never sends: whoever follows the link without
    /// a click on the page, as scanners of mail do, neither spends the ticket nor leaves it in a log.
    pub fn link(&self, public_url: &str, purpose: Purpose) -> SecretText {
        SecretText::from(format!("{public_url}/{}#{}", purpose.page(), self.0.expose()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the letters promise.
    #[test]
    fn a_link_is_good_for_its_time() {
        let minutes = [
            (Purpose::ResetPassword, 30),
            (Purpose::Recovery, 30),
            (Purpose::VerifyEmail, 24 * 60),
            (Purpose::AgentKey, 24 * 60),
            (Purpose::Invitation, 7 * 24 * 60),
        ];
        for (purpose, minutes) in minutes {
            assert_eq!(purpose.lifetime(), Duration::from_secs(minutes * 60), "{purpose:?}");
        }
    }

    #[test]
    fn a_link_has_its_ticket_in_the_fragment_alone() {
        let ticket = Ticket::new(&[7; 32]);
        let link = ticket.link("https://vault.example.org", Purpose::ResetPassword);
        let (page, fragment) = link.expose().split_once('#').unwrap();
        assert_eq!(page, "https://vault.example.org/reset");
        assert_eq!(fragment.len(), 43);
        assert_eq!(TicketHash::of(&SecretText::from(fragment.to_owned())), ticket.hash());
    }
}
