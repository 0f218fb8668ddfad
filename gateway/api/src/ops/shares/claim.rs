//! Shares that go to a mail address become somebody's who has shown that it is theirs.

use domain::audit::Event;
use domain::{EventId, PrincipalId, RecipientType, Result, Time};
use serde_json::Map;
use store::users::User;
use store::{Tx, shares};

/// With a log-in, or an account that is made: whoever has verified the address claims what was shared with it. Who has
/// not, claims one by its link alone: anybody may sign up with an address of somebody else's.
pub async fn claim(tx: &mut Tx, user: &User, at: Time) -> Result<()> {
    if !user.email_verified {
        return Ok(());
    }
    for (id, org) in shares::claim(tx, user.id, &user.email, at).await? {
        tx.record(Event {
            id: EventId::new(),
            org,
            action: "share.accept",
            actor: Some(PrincipalId::User(user.id)),
            resource: ("share", RecipientType::ExternalEmail.shown(id)),
            details: Map::from_iter([("claimed".to_owned(), true.into())]),
            address: None,
            at,
        });
    }
    Ok(())
}
