//! A writing transaction: what an operation changes and the audit events about it, committed together.

use domain::Result;
use domain::audit::Event;
use sqlx::{Any, AnyConnection, AnyPool, Transaction};

use crate::dialect::Dialect;
use crate::events::News;
use crate::turns::{Turn, Turns};
use crate::{audit, events, failed};

/// Where writing transactions begin.
#[derive(Clone)]
pub enum Writer {
    /// SQLite: one after the other, with commits in common.
    Turns(Turns),
    /// PostgreSQL does both by itself.
    Pool(AnyPool),
}

/// Dropped without [`Tx::commit`], nothing of it happened.
pub struct Tx {
    inner: Inner,
    events: Vec<Event>,
    news: Vec<News>,
}

enum Inner {
    Turn(Turn),
    Own(Transaction<'static, Any>),
}

impl Writer {
    pub async fn begin(&self) -> Result<Tx> {
        let inner = match self {
            Self::Turns(turns) => Inner::Turn(turns.begin().await?),
            Self::Pool(pool) => Inner::Own(pool.begin().await.map_err(failed)?),
        };
        Ok(Tx { inner, events: Vec::new(), news: Vec::new() })
    }
}

impl Tx {
    /// Adds an audit event, written when the transaction commits.
    pub fn record(&mut self, event: Event) {
        self.events.push(event);
    }

    /// Adds what dashboards and waiting agents are told when the transaction commits.
    pub fn announce(&mut self, news: News) {
        self.news.push(news);
    }

    /// Writes the audit events last (their chain's head is a row that others wait for), then commits.
    pub async fn commit(mut self) -> Result<()> {
        let (events, news) = (std::mem::take(&mut self.events), std::mem::take(&mut self.news));
        events::append(self.connection(), news).await?;
        audit::append(self.connection(), events).await?;
        match self.inner {
            Inner::Turn(turn) => turn.commit().await,
            Inner::Own(transaction) => transaction.commit().await.map_err(failed),
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self.inner {
            Inner::Turn(_) => Dialect::Sqlite,
            Inner::Own(_) => Dialect::Postgres,
        }
    }

    pub(crate) fn connection(&mut self) -> &mut AnyConnection {
        match &mut self.inner {
            Inner::Turn(turn) => turn.connection(),
            Inner::Own(transaction) => transaction,
        }
    }
}
