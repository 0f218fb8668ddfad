//! People who log in by an identity that somebody else proves: who they are here. Their records pin the identity, too;
//! a row that is changed finds somebody for whom the signer gives no token.

use domain::{Error, Result, UserId};

use crate::row::Columns as _;
use crate::{Store, Tx, failed, is_duplicate};

pub struct OutsideLogin<'a> {
    pub issuer: &'a str,
    /// Whom the issuer means by it: of his own making, and for ever the same.
    pub subject: &'a str,
    pub user: UserId,
}

const INSERT: &str = "INSERT INTO outside_logins (issuer, subject, user_id) VALUES ($1, $2, $3)";
const FIND: &str = "SELECT user_id FROM outside_logins WHERE issuer = $1 AND subject = $2";

/// # Errors
/// `Conflict` if somebody has this identity already.
pub async fn insert(tx: &mut Tx, login: &OutsideLogin<'_>) -> Result<()> {
    let insert = sqlx::query(INSERT).bind(login.issuer).bind(login.subject).bind(login.user.to_string());
    let inserted = insert.execute(tx.connection()).await;
    inserted.map(drop).map_err(|error| {
        if is_duplicate(&error) {
            Error::conflict("This identity has an account already; log in with it.")
        } else {
            failed(error)
        }
    })
}

/// Who it is that wants to log in.
pub async fn facts(store: &Store, issuer: &str, subject: &str) -> Result<Option<UserId>> {
    let find = sqlx::query(FIND).bind(issuer).bind(subject);
    let row = find.fetch_optional(&mut *store.read().await?).await.map_err(failed)?;
    row.map(|row| row.parsed("user_id")).transpose()
}
