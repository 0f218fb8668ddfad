//! A mailbox is not flooded from here: what strangers can have sent to an address is counted for the address, whoever asks.
//! Beyond that, who may be told is refused; where the answer must tell nothing of the address, no mail is sent.

use std::time::Duration;

use domain::Result;
use domain::limit::Window;

use crate::gateway::Gateway;
use crate::throttle;

/// To one address.
const MOST: Window = Window::new(20, Duration::from_secs(60 * 60));

/// Of two kinds, each counted by itself: what others send keeps nobody from an account. Mails for a new password
/// are fewer, and counted where they are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Mails {
    /// An invitation, a share, the key of an agent that enrols itself.
    OthersAskFor,
    /// To verify an address that somebody signs up with.
    ToSignUp,
}

impl Mails {
    /// What is counted.
    fn what(self) -> &'static str {
        match self {
            Self::OthersAskFor => "mailbox.others",
            Self::ToSignUp => "mailbox.signup",
        }
    }
}

/// Takes the place of one letter.
///
/// # Errors
/// `TooManyRequests`, with the time until there is room.
pub async fn take(gateway: &Gateway, mails: Mails, email: &str) -> Result<()> {
    throttle::take(gateway, mails.what(), &[email], MOST).await
}

/// As [`take`], where whoever asks is not to be told: whether there was room.
pub async fn has_room(gateway: &Gateway, mails: Mails, email: &str) -> Result<bool> {
    throttle::has_room(gateway, mails.what(), &[email], MOST).await
}
