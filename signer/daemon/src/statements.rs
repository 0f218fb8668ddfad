//! Statements that live in somebody else's database: made genuine here, and told genuine here.

use std::any::Any;
use std::sync::Arc;

use moka::sync::Cache;
use signer_protocol::attested::{Attested, MAC_LENGTH, Statement};
use subtle::ConstantTimeEq as _;

use crate::encoding::{length_prefixed, sha256};
use crate::pool::KeyPool;
use crate::refuse::{Result, invalid, tampered, unavailable};

/// Bytes of verified statements that are remembered, at most.
const CACHE_BYTES: u64 = 64 << 20;

/// Attests and verifies by the keystore's MAC key.
pub struct Statements {
    pool: Arc<KeyPool>,
    /// What was verified, by the hash of its kind, code and body: reading a secret twice asks the HSM once. Only
    /// what has passed is remembered, so nobody can fill it with rubbish.
    genuine: Cache<[u8; 32], Arc<dyn Verified>>,
}

trait Verified: Any + Send + Sync {
    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    fn size(&self) -> u32;
}

struct Kept<T> {
    statement: Arc<T>,
    size: u32,
}

impl<T: Send + Sync + 'static> Verified for Kept<T> {
    fn any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self.statement.clone()
    }
    fn size(&self) -> u32 {
        self.size
    }
}

impl Statements {
    pub fn new(pool: Arc<KeyPool>) -> Self {
        let genuine = Cache::builder()
            .weigher(|_, kept: &Arc<dyn Verified>| kept.size())
            .max_capacity(CACHE_BYTES)
            .build();
        Self { pool, genuine }
    }

    /// Puts the signer's authentication code to a statement.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn attest<T: Statement>(&self, statement: &T) -> Result<Attested<T>> {
        let body = serde_json::to_vec(statement).map_err(|error| {
            tracing::error!(%error, kind = T::DOMAIN, "a statement can't be written");
            unavailable("The statement can't be written.")
        })?;
        let message = message::<T>(&body);
        let mac = self.pool.on_keys(move |keys| keys.mac(&message)).await?;
        Ok(Attested::from_parts(mac, &body))
    }

    /// Whether the signer said this, and what it said.
    ///
    /// # Errors
    /// `Tampered`, `Unavailable`.
    pub async fn verify<T>(&self, attested: &Attested<T>) -> Result<Arc<T>>
    where
        T: Statement + Send + Sync + 'static,
    {
        let id = sha256(&length_prefixed(&[T::DOMAIN.as_bytes(), attested.as_bytes()]));
        if let Some(kept) = self.genuine.get(&id)
            && let Ok(statement) = kept.any().downcast::<T>()
        {
            return Ok(statement);
        }
        let refused = || tampered(format!("The signer did not make this statement ({}).", T::DOMAIN));
        let (mac, body) = attested.parts().ok_or_else(refused)?;
        let message = message::<T>(body);
        let expected = self.pool.on_keys(move |keys| keys.mac(&message)).await?;
        if !bool::from(expected.ct_eq(mac)) {
            return Err(refused());
        }
        let statement: Arc<T> = Arc::new(attested.peek().map_err(|error| {
            tracing::error!(%error, kind = T::DOMAIN, "a genuine statement can't be read");
            invalid("The statement is of a format that this signer does not know.")
        })?);
        let size = u32::try_from(MAC_LENGTH + body.len()).unwrap_or(u32::MAX);
        self.genuine.insert(id, Arc::new(Kept { statement: statement.clone(), size }));
        Ok(statement)
    }
}

/// The kind goes in with its length, so that no statement of one kind is also one of another.
pub fn message<T: Statement>(body: &[u8]) -> Vec<u8> {
    let mut message = length_prefixed(&[T::DOMAIN.as_bytes()]);
    message.extend_from_slice(body);
    message
}

/// What the ledger knows a version of a record by.
pub fn digest<T: Statement>(attested: &Attested<T>) -> [u8; 32] {
    sha256(attested.parts().map(|(_, body)| body).unwrap_or_default())
}
