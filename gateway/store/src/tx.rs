//! A writing transaction: what an operation changes and the audit events about it, committed together.

use domain::Result;
use domain::audit::Event;
use sqlx::AnyConnection;
use sqlx::{Any, AnyPool, Transaction};

use crate::dialect::Dialect;
use crate::{audit, failed};

/// Dropped without [`Tx::commit`], nothing of it happened.
pub struct Tx {
    inner: Transaction<'static, Any>,
    events: Vec<Event>,
    dialect: Dialect,
}

impl Tx {
    pub(crate) async fn begin(pool: &AnyPool, dialect: Dialect) -> Result<Self> {
        let inner = pool.begin_with(dialect.begin()).await.map_err(failed)?;
        Ok(Self { inner, events: Vec::new(), dialect })
    }

    /// Adds an audit event, written when the transaction commits.
    pub fn record(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Writes the audit events last (their chain's head is a row that others wait for), then commits.
    pub async fn commit(mut self) -> Result<()> {
        audit::append(&mut self.inner, std::mem::take(&mut self.events)).await?;
        self.inner.commit().await.map_err(failed)
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }
}
